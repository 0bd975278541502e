"""Cut faces and sound out of videos, for train.py."""

from lipgan_keras import cli


def main():
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--videos_data_root", required=True, help="folder that holds the videos, LRS2's or any")
    parser.add_argument("--final_data_root", required=True, help="folder for the preprocessed clips")
    parser.add_argument("--split", default="train", help="which list file of --filelists, and folder of LRS2")
    parser.add_argument(
        "--filelists", help="folder with <split>.txt of <video>/<clip> lines (default: ./filelists/ if it has that file, else every video)"
    )
    parser.add_argument("--num_workers", type=cli.integer(1), default=10, help="processes, at most one a core")
    parser.add_argument("--img_size", type=int, choices=[96, 192], default=96, help="side of the face crops in pixels")
    args = parser.parse_args()

    from lipgan_keras import preprocessing

    preprocessing.preprocess(args)


if __name__ == "__main__":
    cli.run(main)
