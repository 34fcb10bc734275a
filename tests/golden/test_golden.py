"""The golden image against its second reader and the formulas of its contents. Standard library only: python3 test_golden.py"""
import json
import os
import struct
import subprocess
import sys
import unittest

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)

import expected  # noqa: E402
import reader  # noqa: E402
import xxh3  # noqa: E402


def load(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


class Golden(unittest.TestCase):
    def test_the_second_reader_finds_what_the_formulas_say(self):
        found = reader.describe(reader.Image(load("golden-v1.entrofs")))
        different = list(reader.differences(found, json.loads(load("expected.json"))))
        self.assertEqual(different, [])

    def test_the_golden_files_are_those_that_were_frozen(self):
        self.assertEqual(xxh3.xxh3_128(load("golden-v1.entrofs")).hex(), "a5f924d81d61b44d7ded667187484a25")
        self.assertEqual(xxh3.xxh3_128(load("golden-v1.frame")).hex(), "d0e12d20969cb09101e589895a5cb8b4")

    def test_the_second_reader_finds_in_the_frame_what_the_formulas_say(self):
        frame = reader.Frame(load("golden-v1.frame"))
        self.assertEqual({block[0] for block in frame.blocks}, {0, 1, 2})
        self.assertIsNotNone(frame.code.root)
        self.assertEqual(frame.content(), expected.frame_content())

    def test_expected_json_is_what_expected_py_writes(self):
        written = subprocess.run([sys.executable, "-B", os.path.join(FOLDER, "expected.py")], check=True, capture_output=True)
        self.assertEqual(json.loads(written.stdout), json.loads(load("expected.json")))

    def test_all_methods_and_kinds_of_leaves_occur(self):
        image = reader.Image(load("golden-v1.entrofs"))
        found = reader.describe(image)
        self.assertTrue(all(n > 0 for n in found["blocks"].values()))
        self.assertGreater(found["codebooks"], 5)
        self.assertGreater(len({image.layouts[stream["layout"]][1] for stream in image.streams}), 3)
        codes = [reader.Code(codebook) for codebook in image.tables["codebooks"]]
        widths = {len(leaf).bit_length() - 1 for code in codes for leaf in code.leaves}
        self.assertTrue({0, 1, 2, 3, 4, 5, 6, 7} <= widths, widths)

    def test_roots_are_coded_and_not_coded(self):
        image = reader.Image(load("golden-v1.entrofs"))
        coded = set()
        for stream in image.streams:
            for plane in stream["planes"]:
                if plane["code"][1] == reader.NONE:
                    continue
                for method, offset, stored, n, _ in plane["blocks"]:
                    if method == 2:
                        code = reader.Code(image.tables["codebooks"][plane["code"][0]])
                        try:  # without the codebook for the root only blocks whose root is stored as it is decode
                            code.decode(image.data[offset : offset + stored], n)
                            coded.add(False)
                        except reader.Malformed:
                            coded.add(True)
        self.assertEqual(coded, {False, True})

    def test_a_flipped_byte_of_superblock_or_index_is_refused(self):
        image = load("golden-v1.entrofs")
        start = struct.unpack_from("<Q", image, 40)[0]
        for position in list(range(0, 4096, 97)) + list(range(start, len(image), 97)):
            bad = bytearray(image)
            bad[position] ^= 0x10
            with self.assertRaises(reader.Malformed, msg=position):
                reader.Image(bytes(bad))

    def test_the_example_of_the_specification_decodes(self):
        codebook = bytearray(128)
        codebook[0x30:0x34] = bytes([0x10, 0x33, 0x43, 0x04])
        code = reader.Code(codebook)
        self.assertEqual(code.leaves, [[0x61], [0x62, 0x63], [0x64], [0x65, 0x66]])
        self.assertEqual(code.decode(bytes.fromhex("06030102 02 02 06 2c aa05"), 12), b"abacadaebafa")

    def test_the_coded_root_of_the_specification_decodes(self):
        codebook, root_codebook = bytearray(128), bytearray(128)
        codebook[0x30:0x32] = bytes([0x10, 0x22])
        root_codebook[0] = 0x11
        symbols = b"a" * 16 + b"b" + b"a" * 47
        self.assertEqual(reader.Code(codebook, root_codebook).decode(bytes.fromhex("3f01 00 0804"), 64), symbols)
        self.assertEqual(reader.Code(codebook, root_codebook).decode(bytes.fromhex("3f01 00 0000010000000000"), 64), symbols)
        for bad in ("3f01 00", "3f01 00 08", "3f01 00 080400", "3f01 00 0806", "3f01 00 000001000000000000"):
            with self.assertRaises(reader.Malformed, msg=bad):
                reader.Code(codebook, root_codebook).decode(bytes.fromhex(bad), 64)

    def test_xxh3_gives_the_values_of_the_reference_implementation(self):
        """One length for each branch of the specification, bytes from the generator below."""
        state, data = 1, bytearray()
        for _ in range(5000):
            state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
            data.append(state >> 56)
        for size, xxh3_64, xxh3_128 in [
            (0, 0x2D06800538D394C2, "99aa06d3014798d86001c324468d497f"),
            (1, 0xC00F9D4F580C0C3A, "c89f16e01381dd11c00f9d4f580c0c3a"),
            (5, 0xABA4062F24845BDC, "940670c9fb2d79c419d1bcd6f6b7db50"),
            (12, 0x373DA156A0EF76B0, "56b51d9ff502892ede25c283636cfbd2"),
            (100, 0x43F564F2115EB14F, "1fa5148bdae63524d7c8ae7d2889875e"),
            (200, 0xEDCED795343597FD, "d2e5234aded135cf9346df8399c88499"),
            (241, 0x2CB1ED4A30C8BDED, "19f9ed05e79938962cb1ed4a30c8bded"),
            (4966, 0xD08CD7291F288E6E, "0ea95bcf086b84f1d08cd7291f288e6e"),
        ]:
            self.assertEqual(xxh3.xxh3_64(bytes(data[:size])), xxh3_64, size)
            self.assertEqual(xxh3.xxh3_128(bytes(data[:size])).hex(), xxh3_128, size)


if __name__ == "__main__":
    unittest.main()
