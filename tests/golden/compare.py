"""The second reader against the programs: builds an image of a model with mkentrofs, lets entrofsck extract it, and reads every file and every tensor
of the image with reader.py. The image must have a codebook for a root, which 4 bits give to a model.

    compare.py MKENTROFS ENTROFSCK MODEL [options of mkentrofs...]
"""
import os
import subprocess
import sys
import tempfile

import reader


def load(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def main(arguments):
    mkentrofs, entrofsck, model, *options = arguments
    with tempfile.TemporaryDirectory() as folder:
        path, files = os.path.join(folder, "image.entrofs"), os.path.join(folder, "files")
        os.mkdir(files)
        subprocess.run([mkentrofs, *options, model, path], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([entrofsck, "--extract", files, path], check=True, stdout=subprocess.DEVNULL)
        image = reader.Image(load(path))
        different = []
        for name in image.files:
            if image.file(name) != load(os.fsencode(files), name):
                different.append(name)
        for tensor in image.tensors:
            if image.stream(tensor["stream"]) != load(os.fsencode(files), b"tensors", tensor["name"]):
                different.append(tensor["name"])
    for name in different:
        print("differs: %r" % name)
    if not any(plane["code"][1] != reader.NONE for stream in image.streams for plane in stream["planes"]):
        print("no plane has a codebook for its root: this model does not show that they can be read")
        return 1
    print("%d files and %d tensors compared, %d differ" % (len(image.files), len(image.tensors), len(different)))
    return 1 if different or not image.tensors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
