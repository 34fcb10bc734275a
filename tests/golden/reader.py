"""A second reader of entrofs images, written from codec/FORMAT.md alone with nothing but the standard library. Slow, and strict: whatever the
specification does not allow raises Malformed, in the specification's words rather than in those of any other program.

    reader.py IMAGE            what is in the image, with digests of all streams, files and views, as JSON
    reader.py IMAGE EXPECTED   the same compared with a JSON file of that form; exits with 1 and names what differs
"""
import hashlib
import json
import math
import struct
import sys

from xxh3 import xxh3_64, xxh3_128

NONE = 2**32 - 1
TABLES = ["strings", "files", "extents", "tensors", "streams", "layouts", "planes", "codebooks", "blocks"]
RECORD_BYTES = [1, 24, 24, 120, 32, 40, 24, 128, 16]
SOURCES = {1: "safetensors", 2: "gguf", 3: "npy"}
SCHEMES = {0: "lossless", 1: "unsigned", 2: "asymmetric", 3: "balanced"}
# number: (name, elements coded together, their bytes)
DTYPES = {
    1: ("F32", 1, 4), 2: ("F16", 1, 2), 3: ("BF16", 1, 2), 4: ("F64", 1, 8), 5: ("BOOL", 1, 1), 6: ("U8", 1, 1),
    7: ("I8", 1, 1), 8: ("U16", 1, 2), 9: ("I16", 1, 2), 10: ("U32", 1, 4), 11: ("I32", 1, 4), 12: ("U64", 1, 8),
    13: ("I64", 1, 8), 14: ("C64", 1, 8), 15: ("F8_E4M3", 1, 1), 16: ("F8_E5M2", 1, 1), 17: ("F8_E8M0", 1, 1),
    18: ("F8_E4M3FNUZ", 1, 1), 19: ("F8_E5M2FNUZ", 1, 1), 20: ("F4", 2, 1), 21: ("F6_E2M3", 4, 3), 22: ("F6_E3M2", 4, 3),
    66: ("Q4_0", 32, 18), 67: ("Q4_1", 32, 20), 70: ("Q5_0", 32, 22), 71: ("Q5_1", 32, 24), 72: ("Q8_0", 32, 34),
    73: ("Q8_1", 32, 36), 74: ("Q2_K", 256, 84), 75: ("Q3_K", 256, 110), 76: ("Q4_K", 256, 144), 77: ("Q5_K", 256, 176),
    78: ("Q6_K", 256, 210), 79: ("Q8_K", 256, 292), 80: ("IQ2_XXS", 256, 66), 81: ("IQ2_XS", 256, 74),
    82: ("IQ3_XXS", 256, 98), 83: ("IQ1_S", 256, 50), 84: ("IQ4_NL", 32, 18), 85: ("IQ3_S", 256, 110),
    86: ("IQ2_S", 256, 82), 87: ("IQ4_XS", 256, 136), 93: ("IQ1_M", 256, 56), 98: ("TQ1_0", 256, 54), 99: ("TQ2_0", 256, 66),
    103: ("MXFP4", 32, 17),
}
VIEW_DTYPES = {"F32", "F16", "BF16", "Q8_0", "Q4_1"}


class Malformed(Exception):
    pass


def need(condition, *what):
    if not condition:
        raise Malformed(" ".join(str(part) for part in what))


def is_zero(data):
    return not any(data)


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def size_of(dtype, shape):
    """Bytes of a tensor, or None where the shape is not allowed."""
    name, elements, size = DTYPES[dtype]
    n = math.prod(shape)
    run = (shape[-1] if shape else 1) if dtype >= 64 else n
    return n // elements * size if run % elements == 0 else None


class Code:
    """A codebook: the tree, and the decoding of a block."""

    def __init__(self, codebook, root_codebook=None):
        lengths = []
        for byte in codebook:
            lengths += [byte & 15, byte >> 4]
        used = [length for length in lengths if length]
        need(len(used) >= 2, "a codebook has fewer than two symbols")
        need(sum(2 ** (15 - length) for length in used) == 2**15, "a codebook is not complete")
        made = []  # (depth, symbols)
        for length in range(1, 16):
            symbols = [symbol for symbol in range(256) if lengths[symbol] == length]
            for width in range(8, -1, -1):
                if len(symbols) >= 2**width:
                    made.append((length - width, symbols[: 2**width]))
                    symbols = symbols[2**width :]
        made.sort(key=lambda leaf: leaf[0])
        self.leaves = [symbols for _, symbols in made]
        prefixes, prefix, before = {}, 0, made[0][0]
        for number, (depth, _) in enumerate(made):
            if number:
                prefix = (prefix + 1) << (depth - before)
            before = depth
            prefixes[format(prefix, "b").zfill(depth) if depth else ""] = number
        self.tree = self.subtree(prefixes, "")
        self.root = None
        if root_codebook is not None:
            need(not isinstance(self.tree, int), "a codebook for the root of a tree that is a leaf")
            self.root = Code(root_codebook)

    def subtree(self, prefixes, prefix):
        """A leaf's number, or (left, right)."""
        if prefix in prefixes:
            return prefixes[prefix]
        return self.subtree(prefixes, prefix + "0"), self.subtree(prefixes, prefix + "1")

    def decode(self, stored, n):
        position = 0
        counts = []
        for _ in self.leaves:
            value = shift = 0
            while True:
                need(position < len(stored) and shift <= 28, "the counts of a block do not end")
                byte = stored[position]
                position += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            need(byte or shift == 7, "a count is not in its shortest form")
            counts.append(value)
        need(sum(counts) == n, "the counts of a block do not add up to its size")

        def bits(count, width, code=None):
            """The numbers of a record, which may be coded if it is the last one."""
            nonlocal position
            size = (count * width + 7) // 8
            if code is not None and len(stored) - position < size:
                record = code.decode(stored[position:], size)
                position = len(stored)
            else:
                need(position + size <= len(stored), "a record reaches beyond its block")
                record = stored[position : position + size]
                position += size
            number = int.from_bytes(record, "little")
            need(number >> (count * width) == 0, "unused bits of a record are not 0")
            mask = 2**width - 1
            return [number >> (i * width) & mask for i in range(count)]

        def symbols(node):
            if isinstance(node, int):
                leaf = self.leaves[node]
                width = len(leaf).bit_length() - 1
                if width == 0 or counts[node] == 0:
                    return [leaf[0]] * counts[node]
                return [leaf[number] for number in bits(counts[node], width)]
            left, right = symbols(node[0]), symbols(node[1])
            if not left or not right:
                return left or right
            ways = bits(len(left) + len(right), 1, self.root if node is self.tree else None)
            need(sum(ways) == len(right), "a node's record does not agree with the counts")
            sides = iter(left), iter(right)
            return [next(sides[way]) for way in ways]

        decoded = symbols(self.tree)
        need(position == len(stored), "a block has bytes behind its last record")
        return bytes(decoded)


class Image:
    def __init__(self, data):
        self.data = data
        need(len(data) >= 4096 and data[:8] == b"\x89ENTROFS", "not an image")
        need(xxh3_64(data[:4088]) == struct.unpack_from("<Q", data, 4088)[0], "checksum of the superblock")
        version, superblock_bytes, incompatible, _, image_bytes, index_offset, index_bytes = struct.unpack_from("<IIQQQQQ", data, 8)
        need(version == 1, "version", version)
        need(incompatible == 0, "incompatible features", incompatible)
        need(superblock_bytes == 4096, "size of the superblock")
        need(image_bytes == len(data) <= 2**44, "the file has", len(data), "bytes, expected", image_bytes)
        need(4096 <= index_offset and index_offset + index_bytes == image_bytes, "place of the index")
        need(index_bytes <= 2**32, "size of the index")
        source, reserved = struct.unpack_from("<II", data, 72)
        need(source in SOURCES, "source", source)
        need(reserved == 0 and is_zero(data[224:4088]), "reserved bytes of the superblock")
        self.source = SOURCES[source]
        self.data_end = index_offset
        index = data[index_offset:]
        need(xxh3_128(index) == data[56:72], "checksum of the index")
        self.locate_tables(index)
        self.codes = {}
        self.read_layouts()
        self.read_streams()
        self.read_names()

    def locate_tables(self, index):
        self.tables = {}
        end = 0
        for number, name in enumerate(TABLES):
            offset, count = struct.unpack_from("<QQ", self.data, 80 + 16 * number)
            need(offset == (end + 7) // 8 * 8, "place of table", name)
            need(is_zero(index[end:offset]), "padding before table", name)
            need(count < NONE or name == "blocks", "too many", name)
            size = RECORD_BYTES[number]
            end = offset + count * size
            need(end <= len(index), "table", name, "reaches beyond the index")
            self.tables[name] = [index[offset + i * size : offset + (i + 1) * size] for i in range(count)]
            if name == "strings":
                self.tables[name] = index[offset:end]
        need((end + 7) // 8 * 8 == len(index) and is_zero(index[end:]), "end of the index")

    def read_layouts(self):
        self.layouts = []
        for record in self.tables["layouts"]:
            record_bytes, rotate, n_fields = struct.unpack_from("<HBB", record)
            fields = list(struct.unpack_from("<16H", record, 4))
            need(1 <= record_bytes <= 4096 and 1 <= n_fields <= 16, "layout")
            need(rotate in (0, 2, 4, 8) and (rotate == 0 or record_bytes % rotate == 0), "rotation of a layout")
            need(all(fields[:n_fields]) and not any(fields[n_fields:]) and sum(fields) == record_bytes, "fields of a layout")
            need(is_zero(record[36:]), "reserved bytes of a layout")
            self.layouts.append((record_bytes, rotate, fields[:n_fields]))

    def read_streams(self):
        for codebook in self.tables["codebooks"]:
            Code(codebook)
        self.streams = []
        self.n_planes = self.n_blocks = n_layouts = 0
        self.n_codebooks = 0
        for record in self.tables["streams"]:
            size = struct.unpack_from("<Q", record)[0]
            layout, first_plane = struct.unpack_from("<II", record, 24)
            need(layout <= n_layouts and layout < len(self.layouts), "layout of a stream")
            n_layouts = max(n_layouts, layout + 1)
            record_bytes, _, fields = self.layouts[layout]
            need(size <= 2**46 and size % record_bytes == 0, "size of a stream")
            need(first_plane == self.n_planes and first_plane + len(fields) <= len(self.tables["planes"]), "planes of a stream")
            planes = [self.read_plane(size // record_bytes * field) for field in fields]
            self.streams.append({"size": size, "xxh3_128": record[8:24], "layout": layout, "planes": planes})
        need(self.n_planes == len(self.tables["planes"]), "planes without a stream")
        need(self.n_blocks == len(self.tables["blocks"]), "blocks without a plane")
        need(n_layouts == len(self.layouts), "layouts without a stream")
        need(self.n_codebooks == len(self.tables["codebooks"]), "codebooks without a plane")

    def read_plane(self, size):
        first_block, codebook, root_codebook, block_log2 = struct.unpack_from("<QIIB", self.tables["planes"][self.n_planes])
        need(is_zero(self.tables["planes"][self.n_planes][17:]), "reserved bytes of a plane")
        self.n_planes += 1
        need(12 <= block_log2 <= 17, "block size of a plane")
        block_bytes = 2**block_log2
        n_blocks = -(-size // block_bytes)
        need(first_block == self.n_blocks and first_block + n_blocks <= len(self.tables["blocks"]), "blocks of a plane")
        self.n_blocks += n_blocks
        need(codebook != NONE or root_codebook == NONE, "a plane has a codebook for the root alone")
        for used in (codebook, root_codebook):
            if used != NONE:
                need(used <= self.n_codebooks and used < len(self.tables["codebooks"]), "codebook of a plane")
                self.n_codebooks = max(self.n_codebooks, used + 1)
        code = codebook, root_codebook
        if root_codebook != NONE and code not in self.codes:
            self.codes[code] = Code(*(self.tables["codebooks"][used] for used in code))
        blocks = []
        for i in range(n_blocks):
            place, checksum = struct.unpack("<QQ", self.tables["blocks"][first_block + i])
            offset, stored, method = place % 2**44, place >> 44 & (2**18 - 1), place >> 62
            n = min(block_bytes, size - i * block_bytes)
            need(4096 <= offset and offset + stored <= self.data_end, "place of a block")
            need(method <= 2, "method of a block")
            need((stored == 1, stored == n, 1 <= stored < n)[method], "stored size of a block")
            blocks.append((method, offset, stored, n, checksum))
        is_coded = any(block[0] == 2 for block in blocks)
        need(is_coded == (codebook != NONE), "a plane's codebook does not agree with its blocks")
        return {"size": size, "code": code, "blocks": blocks}

    def string(self, offset, size):
        need(offset == self.n_string_bytes, "place of a string")
        self.n_string_bytes += size
        need(self.n_string_bytes <= len(self.tables["strings"]), "a string reaches beyond the strings")
        return self.tables["strings"][offset : offset + size]

    def read_names(self):
        self.n_string_bytes = 0
        files = []
        for record in self.tables["files"]:
            path_offset, path_bytes, first_extent, n_extents, size = struct.unpack("<IIIIQ", record)
            files.append((self.string(path_offset, path_bytes), first_extent, n_extents, size))
        self.read_tensors()
        need(self.n_string_bytes == len(self.tables["strings"]), "strings without use")
        self.files = {}
        n_extents_used = 0
        before = None
        for path, first_extent, n_extents, size in files:
            self.check_path(path, before)
            before = path
            need(first_extent == n_extents_used and first_extent + n_extents <= len(self.tables["extents"]), "extents of a file")
            n_extents_used += n_extents
            extents = [self.read_extent(record) for record in self.tables["extents"][first_extent:n_extents_used]]
            need(sum(extent[4] for extent in extents) == size < 2**63, "size of a file")
            self.files[path] = extents
        need(n_extents_used == len(self.tables["extents"]), "extents without a file")
        for path in self.files:
            parts = path.split(b"/")
            for i in range(1, len(parts)):
                need(b"/".join(parts[:i]) not in self.files, "a file that is also a folder")

    def check_path(self, path, before):
        need(1 <= len(path) <= 4000 and b"\0" not in path, "path")
        need(before is None or before < path, "order of the files")
        parts = path.split(b"/")
        need(all(1 <= len(part) <= 255 and part not in (b".", b"..") for part in parts), "part of a path")
        need(parts[0] not in (b"tensors", b"npy", b"tensors.json"), "path that belongs to the mount")

    def read_tensors(self):
        self.tensors = []
        for record in self.tables["tensors"]:
            name_offset, name_bytes, dtype, scheme, bits, rank = struct.unpack_from("<IIHBBB", record)
            stream, row_scale, column_scale, outliers, scale, zero_point = struct.unpack_from("<IIIIfi", record, 16)
            entropy, snr = struct.unpack_from("<dd", record, 40)
            shape = struct.unpack_from("<8Q", record, 56)
            need(is_zero(record[13:16]), "reserved bytes of a tensor")
            name = self.string(name_offset, name_bytes)
            need(1 <= len(name) <= 240 and b"\0" not in name and b"/" not in name and name not in (b".", b".."), "name")
            need(is_utf8(name), "encoding of the name")
            need(not self.tensors or self.tensors[-1]["name"] < name, "order of the tensors")
            need(dtype in DTYPES and scheme in SCHEMES and rank <= 8 and not any(shape[rank:]), "fields of a tensor")
            shape = list(shape[:rank])
            need(math.prod(size for size in shape if size) < 2**64, "shape of a tensor")
            need(math.isfinite(entropy) and entropy >= 0 and not math.isnan(snr), "figures of a tensor")
            n = math.prod(shape)
            rows = shape[0] if shape else 1
            tensor = {
                "name": name, "dtype": dtype, "scheme": SCHEMES[scheme], "bits": bits, "shape": shape, "elements": n,
                "rows": rows, "columns": n // rows if n else 0, "stream": stream, "row_scale": row_scale,
                "column_scale": column_scale, "outliers": outliers, "scale": scale, "zero_point": zero_point,
            }
            parts = [row_scale, column_scale, outliers]
            if scheme == 0:
                need(bits == scale == zero_point == 0 and snr == math.inf and parts == [NONE] * 3, "fields of a lossless tensor")
                size = size_of(dtype, shape)
            else:
                need(bits in (8, 4), "bits of a tensor")
                need(2.0**-126 <= scale < math.inf, "scale of a tensor")
                low, high = (-32768, 32767) if scheme == 3 else (0, 2**bits - 1)
                need(low <= zero_point <= high, "zero point of a tensor")
                need(scheme == 3 or parts == [NONE] * 3, "factors or outliers of a tensor that has none")
                size = n if bits == 8 else (n + 1) // 2
            self.need_stream(stream, size)
            if row_scale != NONE:
                self.need_stream(row_scale, 2 * rows)
            if column_scale != NONE:
                self.need_stream(column_scale, 2 * tensor["columns"])
            need(n > 0 or parts[:2] == [NONE] * 2, "factors of a tensor without elements")
            if outliers != NONE:
                need(outliers < len(self.streams), "outliers of a tensor")
                size = self.streams[outliers]["size"]
                need(size % 12 == 0 and size // 12 <= n, "size of the outliers")
            self.tensors.append(tensor)

    def need_stream(self, stream, size):
        need(stream < len(self.streams) and self.streams[stream]["size"] == size, "stream", stream, "of a tensor")

    def read_extent(self, record):
        kind, reserved, dtype, reference, offset, size = struct.unpack("<BBHIQQ", record)
        need(reserved == 0 and kind <= 1, "kind of an extent")
        if kind == 0:
            need(dtype == 0 and reference < len(self.streams), "stream of an extent")
            need(offset + size <= self.streams[reference]["size"], "range of an extent")
        else:
            need(reference < len(self.tensors) and dtype in DTYPES, "view of an extent")
            need(self.view_is_defined(self.tensors[reference], DTYPES[dtype][0]), "view of an extent")
            need(offset == 0 and size == size_of(dtype, self.tensors[reference]["shape"]), "range of a view")
        return kind, dtype, reference, offset, size

    # Content

    def block(self, code, block):
        method, offset, stored_bytes, n, checksum = block
        stored = self.data[offset : offset + stored_bytes]
        need(xxh3_64(stored) == checksum, "checksum of the block at", offset)
        if method == 0:
            return stored * n
        if method == 1:
            return stored
        if code not in self.codes:
            self.codes[code] = Code(self.tables["codebooks"][code[0]])
        return self.codes[code].decode(stored, n)

    def stream(self, number):
        stream = self.streams[number]
        record_bytes, rotate, fields = self.layouts[stream["layout"]]
        planes = [b"".join(self.block(plane["code"], block) for block in plane["blocks"]) for plane in stream["planes"]]
        joined = bytearray()
        if record_bytes == 1:
            joined += planes[0]
        else:
            for i in range(stream["size"] // record_bytes):
                for plane, field in zip(planes, fields):
                    joined += plane[i * field : (i + 1) * field]
        if rotate:
            kind = {2: "H", 4: "I", 8: "Q"}[rotate]
            form = "<%d%s" % (len(joined) // rotate, kind)
            top = 8 * rotate - 1
            joined = struct.pack(form, *(word >> 1 | (word & 1) << top for word in struct.unpack(form, joined)))
        joined = bytes(joined)
        need(xxh3_128(joined) == stream["xxh3_128"], "checksum of stream", number)
        return joined

    def codes_of(self, tensor):
        data = self.stream(tensor["stream"])
        if tensor["bits"] == 8:
            return list(data)
        codes = [code for byte in data for code in (byte & 15, byte >> 4)]
        need(not any(codes[tensor["elements"] :]), "high nibble of the last byte")
        return codes[: tensor["elements"]]

    def view_is_defined(self, tensor, view):
        if tensor["scheme"] == "lossless" or view not in VIEW_DTYPES:
            return False
        ends = [exact_product(tensor["scale"], q - tensor["zero_point"]) for q in (0, 2 ** tensor["bits"] - 1)]
        if not all(math.isfinite(end) for end in ends):
            return False
        if view in ("F32", "F16", "BF16"):
            return True
        shape = tensor["shape"]
        plain = [tensor[part] for part in ("row_scale", "column_scale", "outliers")] == [NONE] * 3
        if not plain or not shape or shape[-1] % 32 or not is_f16(tensor["scale"]):
            return False
        return view == "Q8_0" or (tensor["bits"] == 4 and is_f16(tensor["scale"] * tensor["zero_point"]))

    def has_view(self, tensor, view):
        """Whether the view is defined and the codes fit it, which need not be so."""
        if not self.view_is_defined(tensor, view):
            return False
        return view != "Q8_0" or all(-128 <= code - tensor["zero_point"] <= 127 for code in self.codes_of(tensor))

    def view(self, tensor, view):
        """The bytes of a tensor's view."""
        codes = self.codes_of(tensor)
        scale, zero_point = tensor["scale"], tensor["zero_point"]
        if view == "Q8_0":
            head = struct.pack("<e", scale)
            need(all(-128 <= code - zero_point <= 127 for code in codes), "code that Q8_0 does not have")
            records = (codes[i : i + 32] for i in range(0, len(codes), 32))
            return b"".join(head + struct.pack("32b", *(code - zero_point for code in record)) for record in records)
        if view == "Q4_1":
            head = struct.pack("<ee", scale, -scale * zero_point if zero_point else 0.0)
            records = (codes[i : i + 32] for i in range(0, len(codes), 32))
            return b"".join(head + bytes(record[k] | record[k + 16] << 4 for k in range(16)) for record in records)
        values = [exact_product(scale, code - zero_point) for code in codes]
        if tensor["row_scale"] != NONE or tensor["column_scale"] != NONE:
            row = self.factors(tensor["row_scale"], tensor["rows"])
            column = self.factors(tensor["column_scale"], tensor["columns"])
            columns = tensor["columns"]
            # Both products are exact in a Python float (22 and at most 46 bits), and rounded once below.
            values = [value * (row[e // columns] * column[e % columns]) for e, value in enumerate(values)]
        if view == "BF16":
            parts = [struct.pack("<H", to_bf16(f32_to_odd_bits(value))) for value in values]
        else:
            parts = [pack_or_infinity({"F32": "<f", "F16": "<e"}[view], value) for value in values]
        for element, bits in self.outliers_of(tensor):
            if view == "F32":
                parts[element] = struct.pack("<I", bits)
            elif view == "BF16":
                parts[element] = struct.pack("<H", to_bf16(bits))
            else:
                parts[element] = to_f16(bits)
        return b"".join(parts)

    def factors(self, stream, n):
        if stream == NONE:
            return [1.0] * n
        factors = struct.unpack("<%de" % n, self.stream(stream))
        need(all(math.isfinite(factor) for factor in factors), "factor that is not finite")
        return factors

    def outliers_of(self, tensor):
        if tensor["outliers"] == NONE:
            return []
        outliers = list(struct.iter_unpack("<QI", self.stream(tensor["outliers"])))
        elements = [element for element, _ in outliers]
        need(elements == sorted(set(elements)) and (not elements or elements[-1] < tensor["elements"]), "order of outliers")
        return outliers

    def file(self, path):
        parts = []
        for kind, dtype, reference, offset, size in self.files[path]:
            if kind == 0:
                parts.append(self.stream(reference)[offset : offset + size])
            else:
                parts.append(self.view(self.tensors[reference], DTYPES[dtype][0]))
                need(len(parts[-1]) == size, "size of a view")
        return b"".join(parts)


class Frame:
    """The appendix: a buffer by itself."""

    def __init__(self, data):
        need(len(data) >= 32 and data[:8] == b"\x89ENTROFR", "not a frame")
        version, block_log2, n_codebooks, reserved, self.size = struct.unpack_from("<HBBIQ", data, 8)
        need(version == 1 and reserved == 0, "head of a frame")
        need(12 <= block_log2 <= 17 and n_codebooks <= 2 and self.size <= 2**46, "head of a frame")
        block_bytes = 2**block_log2
        n_blocks = -(-self.size // block_bytes)
        records = 24 + 128 * n_codebooks
        end = records + 12 * n_blocks
        need(end + 8 <= len(data), "a frame is too short")
        need(xxh3_64(data[:end]) == struct.unpack_from("<Q", data, end)[0], "checksum of a frame")
        codebooks = [data[24 + 128 * i : 152 + 128 * i] for i in range(n_codebooks)]
        self.code = Code(*codebooks) if codebooks else None
        offset = end + 8
        self.blocks = []
        for i in range(n_blocks):
            word, checksum = struct.unpack_from("<IQ", data, records + 12 * i)
            stored, method = word % 2**30, word >> 30
            n = min(block_bytes, self.size - i * block_bytes)
            need(method <= (2 if codebooks else 1), "method of a block")
            need((stored == 1, stored == n, 1 <= stored < n)[method], "stored size of a block")
            self.blocks.append((method, data[offset : offset + stored], n, checksum))
            offset += stored
        need(offset == len(data), "end of a frame")

    def content(self):
        parts = []
        for method, stored, n, checksum in self.blocks:
            need(xxh3_64(stored) == checksum, "checksum of a block")
            parts.append(stored * n if method == 0 else stored if method == 1 else self.code.decode(stored, n))
        return b"".join(parts)


# Rounding. Python's floats are binary64; struct rounds to nearest, ties to even, and refuses what overflows.


def to_f32(value):
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def exact_product(scale, difference):
    """scale (an F32) times an integer of at most 17 bits: exact in 53 bits, then rounded once."""
    return to_f32(scale * difference)


def pack_or_infinity(form, value):
    try:
        return struct.pack(form, value)
    except OverflowError:
        return struct.pack(form, math.copysign(math.inf, value))


def f32_to_odd_bits(value):
    """The bits of the F32 below a value in magnitude, the last one set if that is not the value: rounding this to BF16 goes as from the value."""
    near = to_f32(value)
    bits = struct.unpack("<I", struct.pack("<f", near))[0]
    if abs(near) > abs(value):
        bits -= 1
    return bits if near == value else bits | 1


def to_bf16(bits):
    if bits & 0x7FFFFFFF > 0x7F800000:
        return bits >> 16 | 0x40
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 & 0xFFFF


def to_f16(bits):
    if bits & 0x7FFFFFFF > 0x7F800000:
        return struct.pack("<H", bits >> 16 & 0x8000 | 0x7E00 | bits >> 13 & 0x3FF)
    return pack_or_infinity("<e", struct.unpack("<f", struct.pack("<I", bits))[0])


def is_f16(value):
    try:
        return struct.unpack("<e", struct.pack("<e", value))[0] == value
    except OverflowError:
        return False


# What is in an image, as JSON.


def digest(data):
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "xxh3_128": xxh3_128(data).hex()}


def describe(image):
    tensors = {}
    for tensor in image.tensors:
        facts = {"dtype": DTYPES[tensor["dtype"]][0], "shape": tensor["shape"], "scheme": tensor["scheme"]}
        facts["stream"] = digest(image.stream(tensor["stream"]))
        if tensor["scheme"] != "lossless":
            facts["bits"] = tensor["bits"]
            facts["scale"] = tensor["scale"].hex()
            facts["zero_point"] = tensor["zero_point"]
            for part in ("row_scale", "column_scale", "outliers"):
                facts[part] = None if tensor[part] == NONE else digest(image.stream(tensor[part]))
            facts["views"] = {
                view: digest(image.view(tensor, view)) for view in sorted(VIEW_DTYPES) if image.has_view(tensor, view)
            }
        tensors[tensor["name"].decode()] = facts
    files = {path.decode(): digest(image.file(path)) for path in image.files}
    streams = sorted(digest(image.stream(number))["sha256"] for number in range(len(image.streams)))
    methods = [block[0] for stream in image.streams for plane in stream["planes"] for block in plane["blocks"]]
    return {
        "source": image.source,
        "tensors": tensors,
        "files": files,
        "streams": streams,
        "blocks": {"constant": methods.count(0), "raw": methods.count(1), "coded": methods.count(2)},
        "layouts": len(image.layouts),
        "codebooks": len(image.tables["codebooks"]),
    }


def differences(found, expected, where=""):
    """Paths of what differs, as far as `expected` says anything."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(set(expected) | (set(found) if where else set())):
            if key not in found or key not in expected:
                yield "%s/%s: only %s" % (where, key, "expected" if key in expected else "found")
            else:
                yield from differences(found[key], expected[key], where + "/" + key)
    elif found != expected:
        yield "%s: expected %r, found %r" % (where, expected, found)


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    with open(arguments[0], "rb") as file:
        found = describe(Image(file.read()))
    if len(arguments) == 1:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    with open(arguments[1], encoding="utf-8") as file:
        expected = json.load(file)
    different = list(differences(found, expected))
    for line in different:
        print(line)
    n_compared = sum(1 for _ in str(expected).split("sha256")) - 1
    print("%d differences in %d digests" % (len(different), n_compared))
    return 1 if different or n_compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
