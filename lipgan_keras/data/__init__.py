"""In: videos, or clips that are preprocessed.
Out: batches for training, and scores on clips.
Rooms: augment, augment_audio, claims, clip_folder, command, dataset, frame_cache, jpegs, loader, look_through,
mel_bank, music, noise, order, pack, preprocess, preprocess_config, scoring, splits.
"""
