"""In: images, videos and audio files.
Out: frames and waveforms with their times; MP4, WAV and FLAC files.
Rooms: audio_file, clock, container, converter, demux, downmix, image_file, probe, video_reader, video_writer.
"""
