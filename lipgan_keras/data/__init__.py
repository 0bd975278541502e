"""In: videos, or clips that are preprocessed.
Out: batches for training, and scores on clips.
Rooms: augment, augment_audio, clip_folder, command, dataset, frame_cache, loader, mel_bank, music, noise, pack,
preprocess, preprocess_config, scoring, splits.
"""
