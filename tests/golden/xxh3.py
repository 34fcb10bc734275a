"""XXH3-64 and XXH3-128 with seed 0 and the default secret, after the xxHash specification, version 0.2.0. Slow and simple."""
import struct

M32 = (1 << 32) - 1
M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def words(data, offset, n):
    return struct.unpack_from("<%dQ" % n, data, offset)


def halves(data, offset, n):
    return struct.unpack_from("<%dI" % n, data, offset)


def swap64(x):
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def swap32(x):
    return int.from_bytes(x.to_bytes(4, "little"), "big")


def rotate64(x, n):
    return (x << n | x >> (64 - n)) & M64


def avalanche(x):
    x = ((x ^ x >> 37) * MX1) & M64
    return x ^ x >> 32


def avalanche_xxh64(x):
    x = ((x ^ x >> 33) * P64_2) & M64
    x = ((x ^ x >> 29) * P64_3) & M64
    return x ^ x >> 32


def folded(a, b):
    product = a * b
    return (product & M64) ^ (product >> 64)


# Inputs up to 16 bytes.


def combine_1_to_3(data):
    n = len(data)
    return data[-1] | n << 8 | data[0] << 16 | data[n >> 1] << 24


def small_64(data):
    n = len(data)
    if n == 0:
        a, b = words(SECRET, 56, 2)
        return avalanche_xxh64(a ^ b)
    if n <= 3:
        a, b = halves(SECRET, 0, 2)
        return avalanche_xxh64((a ^ b) ^ combine_1_to_3(data))
    if n <= 8:
        first, last = halves(data, 0, 1)[0], halves(data, n - 4, 1)[0]
        a, b = words(SECRET, 8, 2)
        x = (a ^ b) ^ (last | first << 32)
        x ^= rotate64(x, 49) ^ rotate64(x, 24)
        x = (x * MX2) & M64
        x ^= (x >> 35) + n
        x = (x * MX2) & M64
        return x ^ x >> 28
    first, last = words(data, 0, 1)[0], words(data, n - 8, 1)[0]
    a, b, c, d = words(SECRET, 24, 4)
    low, high = (a ^ b) ^ first, (c ^ d) ^ last
    return avalanche((n + swap64(low) + high + folded(low, high)) & M64)


def small_128(data):
    """(low, high)"""
    n = len(data)
    if n == 0:
        a, b, c, d = words(SECRET, 64, 4)
        return avalanche_xxh64(a ^ b), avalanche_xxh64(c ^ d)
    if n <= 3:
        a, b, c, d = halves(SECRET, 0, 4)
        combined = combine_1_to_3(data)
        turned = swap32(combined)
        turned = (turned << 13 | turned >> 19) & M32
        return avalanche_xxh64((a ^ b) ^ combined), avalanche_xxh64((c ^ d) ^ turned)
    if n <= 8:
        first, last = halves(data, 0, 1)[0], halves(data, n - 4, 1)[0]
        a, b = words(SECRET, 16, 2)
        product = ((a ^ b) ^ (first | last << 32)) * (P64_1 + (n << 2))
        high, low = product >> 64 & M64, product & M64
        high = (high + (low << 1)) & M64
        low ^= high >> 3
        low ^= low >> 35
        low = (low * MX2) & M64
        return low ^ low >> 28, avalanche(high)
    first, last = words(data, 0, 1)[0], words(data, n - 8, 1)[0]
    a, b, c, d = words(SECRET, 32, 4)
    x, y = (a ^ b) ^ first ^ last, (c ^ d) ^ last
    product = x * P64_1
    low = ((product & M64) + ((n - 1) << 54)) & M64
    high = ((product >> 64) + (y >> 32 << 32) + (y & M32) * P32_2) & M64
    low ^= swap64(high)
    product = low * P64_2
    high = ((product >> 64) + high * P64_2) & M64
    return avalanche(product & M64), avalanche(high)


# 17 to 240 bytes.


def mix(data, offset, secret_offset, seed=0):
    x, y = words(data, offset, 2)
    a, b = words(SECRET, secret_offset, 2)
    return folded(x ^ ((a + seed) & M64), y ^ ((b - seed) & M64))


def medium_64(data):
    n = len(data)
    total = n * P64_1
    if n <= 128:
        for i in range((n - 1) >> 5, -1, -1):
            total += mix(data, i * 16, i * 32) + mix(data, n - i * 16 - 16, i * 32 + 16)
        return avalanche(total & M64)
    for i in range(8):
        total += mix(data, i * 16, i * 16)
    total = avalanche(total & M64)
    for i in range(8, n >> 4):
        total += mix(data, i * 16, (i - 8) * 16 + 3)
    total += mix(data, n - 16, 119)
    return avalanche(total & M64)


def medium_128(data):
    n = len(data)
    low, high = (n * P64_1) & M64, 0

    def mix_two(first, second, secret_offset, seed=0):
        nonlocal low, high
        low = ((low + mix(data, first, secret_offset, seed)) & M64) ^ (sum(words(data, second, 2)) & M64)
        high = ((high + mix(data, second, secret_offset + 16, seed)) & M64) ^ (sum(words(data, first, 2)) & M64)

    if n <= 128:
        for i in range((n - 1) >> 5, -1, -1):
            mix_two(i * 16, n - i * 16 - 16, i * 32)
    else:
        for i in range(4):
            mix_two(i * 32, i * 32 + 16, i * 32)
        low, high = avalanche(low), avalanche(high)
        for i in range(4, n >> 5):
            mix_two(i * 32, i * 32 + 16, (i - 4) * 32 + 3)
        mix_two(n - 16, n - 32, 103)
    mixed = low * P64_1 + high * P64_4 + n * P64_2
    return avalanche((low + high) & M64), -avalanche(mixed & M64) & M64


# More than 240 bytes.

BLOCK, STRIPE = 1024, 64


def accumulate(lanes, data, offset, secret_offset):
    stripe = words(data, offset, 8)
    secret = words(SECRET, secret_offset, 8)
    for i in range(8):
        value = stripe[i] ^ secret[i]
        lanes[i ^ 1] += stripe[i]
        lanes[i] += (value & M32) * (value >> 32)
    for i in range(8):
        lanes[i] &= M64


def accumulators(data):
    lanes = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n = len(data)
    last_block = (n - 1) // BLOCK * BLOCK
    scramble = words(SECRET, 128, 8)
    for block in range(0, last_block, BLOCK):
        for stripe in range(16):
            accumulate(lanes, data, block + stripe * STRIPE, stripe * 8)
        for i in range(8):
            lanes[i] = ((lanes[i] ^ lanes[i] >> 47 ^ scramble[i]) * P32_1) & M64
    for stripe in range((n - last_block - 1) // STRIPE):
        accumulate(lanes, data, last_block + stripe * STRIPE, stripe * 8)
    accumulate(lanes, data, n - STRIPE, 192 - 71)
    return lanes


def merge(lanes, start, secret_offset):
    secret = words(SECRET, secret_offset, 8)
    for i in range(0, 8, 2):
        start += folded(lanes[i] ^ secret[i], lanes[i + 1] ^ secret[i + 1])
    return avalanche(start & M64)


def xxh3_64(data):
    """As a number."""
    if len(data) <= 16:
        return small_64(data)
    if len(data) <= 240:
        return medium_64(data)
    return merge(accumulators(data), len(data) * P64_1, 11)


def xxh3_128(data):
    """As 16 bytes in canonical form."""
    if len(data) <= 16:
        low, high = small_128(data)
    elif len(data) <= 240:
        low, high = medium_128(data)
    else:
        lanes = accumulators(data)
        low = merge(lanes, len(data) * P64_1, 11)
        high = merge(lanes, ~(len(data) * P64_2) & M64, 192 - 75)
    return struct.pack(">QQ", high, low)
