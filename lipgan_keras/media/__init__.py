"""Media files in: images, video frames and audio with their times. Media files out: MP4, WAV and FLAC.

Rooms: probe (what a file is), image_file, video_reader, video_writer, audio_file, demux (streams and their clock).
"""
