"""Videos or preprocessed clips in; batches for training, and scores on held-out clips, out.

Rooms: preprocess, clip_folder, pack, splits, frame_cache, dataset, loader, augment, augment_audio,
noise, music, mel_bank, scoring.
"""
