/* The GPU's block decoder, run by the emulator, against the CPU's: the same bytes of good blocks, the same
 * blocks refused, and (under AddressSanitizer) no access beyond a buffer whatever the stored bytes are. */
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cmocka_cpp.h"
#include "emulator.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* C has functions with the names of structs */
extern "C" {
#include "codec/block.h"
#include "codec/histogram.h"
#include "codec/joint_lengths.h"
#include "codec/layout.h"
#include "tests/unit/random.h"
}
#pragma GCC diagnostic pop
#include "runner/coded_plan.h"
#include "runner/cuda/decode_kernel.h"

static struct entro_pivot_scratch *cpu;

static int set_up(void **state)
{
    (void)state;
    entro_emulator_reset();
    cpu = entro_pivot_scratch_create(nullptr);
    return cpu == nullptr ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    entro_pivot_scratch_free(cpu);
    return entro_emulator_device_bytes() == 0 && entro_emulator_fault_text()[0] == '\0' ? 0 : -1;
}

struct codes {
    uint8_t lengths[ENTRO_N_SYMBOLS], root_lengths[ENTRO_N_SYMBOLS];
    bool has_root;
    struct entro_pivot *pivot;
};

static struct codes codes_of_lengths(const uint8_t lengths[ENTRO_N_SYMBOLS], const uint8_t *root_lengths)
{
    struct codes codes = {};
    memcpy(codes.lengths, lengths, sizeof codes.lengths);
    codes.has_root = root_lengths != nullptr;
    if (codes.has_root)
        memcpy(codes.root_lengths, root_lengths, sizeof codes.root_lengths);
    enum entro_error error = codes.has_root
                                 ? entro_pivot_create_with_root(&codes.pivot, lengths, root_lengths)
                                 : entro_pivot_create(&codes.pivot, lengths);
    assert_int_equal(error, ENTRO_OK);
    return codes;
}

static struct codes codes_of(const std::vector<uint8_t> &symbols, bool is_joint)
{
    uint64_t counts[ENTRO_N_SYMBOLS] = {};
    uint8_t lengths[ENTRO_N_SYMBOLS], root_lengths[ENTRO_N_SYMBOLS];
    entro_histogram(symbols.data(), symbols.size(), counts);
    if (is_joint)
        assert_true(entro_joint_lengths(counts, 65536, lengths));
    else
        assert_true(entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths));
    bool has_root = entro_pivot_root_lengths(lengths, counts, symbols.data(), symbols.size(), root_lengths);
    return codes_of_lengths(lengths, has_root ? root_lengths : nullptr);
}

struct stored_block {
    enum entro_method method;
    std::vector<uint8_t> stored;
    uint32_t size;
};

template <typename T> static T *to_device(const std::vector<T> &values)
{
    T *device;
    assert_int_equal(cudaMalloc(&device, values.size() * sizeof(T) + 1), cudaSuccess);
    assert_int_equal(cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
                     cudaSuccess);
    return device;
}

/* Decodes blocks of one codebook, all in one launch, at odd places; which were refused is not told apart, so
 * a caller that has bad ones gives one block at a time. */
static struct entro_cuda_faults decode(const struct codes *codes,
                                       const std::vector<struct stored_block> &blocks,
                                       std::vector<uint8_t> *bytes, unsigned target_shift)
{
    std::vector<uint8_t> source;
    std::vector<struct entro_cuda_block> list;
    std::vector<struct entro_cuda_plan> plans(2);
    struct entro_cuda_decoder decoder;
    struct entro_cuda_limits limits = {1, 1, codes->has_root};
    uint64_t target_bytes = target_shift;
    assert_int_equal(entro_coded_plan(&plans[0], codes->lengths), ENTRO_OK);
    if (codes->has_root)
        assert_int_equal(entro_coded_plan(&plans[1], codes->root_lengths), ENTRO_OK);
    for (const struct stored_block &block : blocks) {
        source.push_back(0xee);
        struct entro_cuda_block one = {};
        one.source = source.size();
        one.target = target_bytes;
        one.stored_bytes = (uint32_t)block.stored.size();
        one.size_bytes = block.size;
        one.method = block.method;
        one.root_plan = codes->has_root ? 1 : ENTRO_CUDA_NO_PLAN;
        source.insert(source.end(), block.stored.begin(), block.stored.end());
        list.push_back(one);
        target_bytes += block.size;
        limits.size_bytes = limits.size_bytes > block.size ? limits.size_bytes : block.size;
        if (block.method == ENTRO_METHOD_CODED && one.stored_bytes > limits.stored_bytes)
            limits.stored_bytes = one.stored_bytes;
    }
    source.insert(source.end(), ENTRO_CUDA_SOURCE_SLOP, 0xee);
    bytes->assign(target_bytes - target_shift, 0);
    uint8_t *device_source = to_device(source), *target;
    struct entro_cuda_plan *device_plans = to_device(plans);
    struct entro_cuda_block *device_list = to_device(list);
    struct entro_cuda_faults faults;
    assert_int_equal(cudaMalloc(&target, target_bytes), cudaSuccess);
    assert_int_equal(entro_cuda_decoder_create(&decoder, &limits), cudaSuccess);
    assert_int_equal(entro_cuda_decoder_reset(&decoder, nullptr), cudaSuccess);
    assert_int_equal(entro_cuda_decode(&decoder, &limits, device_source, target, device_plans, device_list,
                                       (uint32_t)list.size(), nullptr),
                     cudaSuccess);
    assert_int_equal(cudaMemcpy(&faults, decoder.faults, sizeof faults, cudaMemcpyDeviceToHost), cudaSuccess);
    assert_int_equal(cudaMemcpy(bytes->data(), target + target_shift, bytes->size(), cudaMemcpyDeviceToHost),
                     cudaSuccess);
    entro_cuda_decoder_free(&decoder);
    cudaFree(target);
    cudaFree(device_list);
    cudaFree(device_plans);
    cudaFree(device_source);
    return faults;
}

/* Encodes in blocks, decodes them all, compares. */
static void check_round_trip(const struct codes *codes, const std::vector<uint8_t> &symbols,
                             size_t block_bytes, unsigned target_shift)
{
    std::vector<struct stored_block> blocks;
    std::vector<uint8_t> target(block_bytes), bytes;
    for (size_t i = 0; i < symbols.size(); i += block_bytes) {
        size_t size = symbols.size() - i < block_bytes ? symbols.size() - i : block_bytes;
        struct entro_block block =
            entro_block_encode(codes->pivot, symbols.data() + i, size, target.data(), cpu);
        blocks.push_back({block.method,
                          std::vector<uint8_t>(target.begin(), target.begin() + block.stored_bytes),
                          (uint32_t)size});
    }
    struct entro_cuda_faults faults = decode(codes, blocks, &bytes, target_shift);
    assert_int_equal(faults.n, 0);
    assert_int_equal(faults.first, UINT32_MAX);
    assert_memory_equal(bytes.data(), symbols.data(), symbols.size());
}

static std::vector<uint8_t> gaussian(size_t n, double deviation, uint64_t seed)
{
    std::vector<uint8_t> symbols(n);
    struct random random = random_from(seed);
    for (uint8_t &symbol : symbols) {
        double value = 128 + deviation * random_normal(&random);
        symbol = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    return symbols;
}

static void gaussian_blocks_of_all_sizes(void **state)
{
    (void)state;
    const double deviations[] = {0.3, 1, 4, 13, 40};
    for (double deviation : deviations) {
        for (int is_joint = 0; is_joint < 2; is_joint++) {
            std::vector<uint8_t> symbols = gaussian(100000, deviation, 1);
            struct codes codes = codes_of(symbols, is_joint != 0);
            check_round_trip(&codes, symbols, 65536, 0);
            symbols.resize(20000);
            check_round_trip(&codes, symbols, 4096, 3);
            entro_pivot_free(codes.pivot);
        }
    }
}

static void the_largest_block_does_without_shared_memory(void **state)
{
    (void)state;
    std::vector<uint8_t> symbols = gaussian(131072, 30, 2);
    struct codes codes = codes_of(symbols, true);
    check_round_trip(&codes, symbols, 131072, 0);
    entro_emulator.max_shared_bytes = 64 << 10; /* sm_75 */
    symbols.resize(65536 + 777);
    check_round_trip(&codes, symbols, 65536, 1);
    entro_pivot_free(codes.pivot);
}

static void tiny_blocks(void **state)
{
    (void)state;
    std::vector<uint8_t> all = gaussian(2000, 5, 3);
    struct codes codes = codes_of(all, false);
    for (size_t n = 1; n < 70; n++)
        check_round_trip(&codes, std::vector<uint8_t>(all.begin(), all.begin() + (long)n), 4096, n % 4);
    entro_pivot_free(codes.pivot);
}

/* Each code as long as it can be: a tree of 15 levels, in which symbols go through all strata. */
static void the_deepest_tree_and_trees_of_one_leaf(void **state)
{
    (void)state;
    struct random random = random_from(4);
    uint8_t lengths[ENTRO_N_SYMBOLS] = {};
    for (unsigned i = 0; i < 15; i++)
        lengths[10 * i] = (uint8_t)(i + 1);
    lengths[251] = 15;
    struct codes codes = codes_of_lengths(lengths, nullptr);
    std::vector<uint8_t> symbols(30000);
    for (unsigned n_used = 1; n_used <= 16; n_used++) {
        for (uint8_t &symbol : symbols) {
            unsigned i = 15 - random_below(&random, n_used);
            symbol = (uint8_t)(i == 15 ? 251 : 10 * i);
        }
        check_round_trip(&codes, symbols, 16384, 0);
    }
    entro_pivot_free(codes.pivot);
    for (unsigned width = 1; width <= 8; width++) {
        memset(lengths, 0, sizeof lengths);
        for (unsigned i = 0; i < 1U << width; i++)
            lengths[i] = (uint8_t)width;
        codes = codes_of_lengths(lengths, nullptr);
        for (uint8_t &symbol : symbols)
            symbol = (uint8_t)random_below(&random, 1U << width);
        check_round_trip(&codes, symbols, 16384, 2);
        entro_pivot_free(codes.pivot);
    }
}

static std::vector<uint8_t> skewed(size_t n, unsigned chances, uint64_t seed)
{
    std::vector<uint8_t> symbols(n);
    struct random random = random_from(seed);
    for (uint8_t &symbol : symbols)
        symbol = random_below(&random, 256) < chances ? 7 : (uint8_t)random_below(&random, 32);
    return symbols;
}

static void blocks_with_a_coded_root(void **state)
{
    (void)state;
    const unsigned chances[] = {200, 240, 254};
    for (unsigned c : chances) {
        std::vector<uint8_t> symbols = skewed(70001, c, c);
        struct codes codes = codes_of(symbols, false);
        assert_true(codes.has_root);
        check_round_trip(&codes, symbols, 65536, 0);
        check_round_trip(&codes, symbols, 4096, 1);
        entro_pivot_free(codes.pivot);
    }
}

static void constant_and_raw_blocks_among_coded_ones(void **state)
{
    (void)state;
    struct random random = random_from(6);
    std::vector<uint8_t> symbols = gaussian(5 * 4096 + 5, 3, 6);
    struct codes codes = codes_of(symbols, false);
    memset(&symbols[4096], 77, 4096);
    for (size_t i = 0; i < 4096; i++)
        symbols[3 * 4096 + i] = (uint8_t)random_next(&random);
    for (unsigned shift = 0; shift < 4; shift++)
        check_round_trip(&codes, symbols, 4096, shift);
    entro_pivot_free(codes.pivot);
}

static void what_the_cpu_refuses_is_refused_and_nothing_else(void **state)
{
    (void)state;
    struct random random = random_from(7);
    unsigned n_refused = 0, n_accepted = 0;
    for (unsigned round = 0; round < 400; round++) {
        size_t size = 1 + random_below(&random, 3000);
        std::vector<uint8_t> symbols =
                                 round % 2 ? skewed(size, 235, round) : gaussian(size, 1 + round % 20, round),
                             sample;
        sample = round % 2 ? skewed(40000, 235, round + 1) : gaussian(40000, 1 + round % 20, round + 1);
        for (unsigned i = 0; i < 256; i++)
            sample.push_back((uint8_t)i);
        struct codes codes = codes_of(sample, false);
        std::vector<uint8_t> coded(2 * size + 1024), expected(size), bytes;
        coded.resize(entro_pivot_encode(codes.pivot, symbols.data(), size, coded.data(), coded.size(), cpu));
        assert_true(coded.size() > 0);
        for (unsigned k = random_below(&random, 4) + 1; k > 0; k--) {
            uint32_t place = random_below(&random, 3) == 0 && coded.size() > 24
                                 ? random_below(&random, 24)
                                 : random_below(&random, (uint32_t)coded.size());
            coded[place] = (uint8_t)(random_below(&random, 2) ? coded[place] ^ 1 << random_below(&random, 8)
                                                              : (int)random_next(&random));
        }
        if (random_below(&random, 4) == 0)
            coded.resize(1 + random_below(&random, (uint32_t)coded.size()));
        std::vector<uint8_t> padded = coded;
        padded.resize(coded.size() + ENTRO_READ_SLOP_BYTES);
        bool is_good = entro_pivot_decode(codes.pivot, padded.data(), coded.size(), expected.data(), size,
                                          cpu) == ENTRO_OK;
        struct entro_cuda_faults faults =
            decode(&codes, {{ENTRO_METHOD_CODED, coded, (uint32_t)size}}, &bytes, round % 4);
        assert_int_equal(faults.n, !is_good);
        assert_int_equal(faults.first, is_good ? UINT32_MAX : 0);
        if (is_good)
            assert_memory_equal(bytes.data(), expected.data(), size);
        n_refused += !is_good;
        n_accepted += is_good;
        entro_pivot_free(codes.pivot);
    }
    assert_true(n_refused > 50 && n_accepted > 20);
}

static void planes_of_floats_are_joined(void **state)
{
    (void)state;
    const enum entro_dtype dtypes[] = {ENTRO_DTYPE_BF16, ENTRO_DTYPE_F16, ENTRO_DTYPE_F32, ENTRO_DTYPE_F64};
    struct random random = random_from(8);
    for (enum entro_dtype dtype : dtypes) {
        struct entro_layout layout = entro_layout_of_dtype(dtype);
        size_t n = 1000, record = layout.record_bytes;
        std::vector<uint8_t> records(n * record), joined(n * record), planes(n * record);
        for (uint8_t &byte : records)
            byte = (uint8_t)random_next(&random);
        uint8_t *starts[ENTRO_MAX_FIELDS];
        for (size_t i = 0; i < record; i++)
            starts[i] = &planes[i * n];
        entro_layout_split(&layout, records.data(), n, starts);
        uint8_t *device_planes = to_device(planes), *target = to_device(joined);
        struct entro_cuda_layout join = {};
        join.record_bytes = (uint32_t)record;
        join.is_rotated = layout.rotate_bytes != 0;
        for (size_t i = 0; i < record; i++)
            join.planes[i] = device_planes + i * n;
        assert_int_equal(entro_cuda_join(target, &join, n, nullptr), cudaSuccess);
        assert_int_equal(cudaMemcpy(joined.data(), target, joined.size(), cudaMemcpyDeviceToHost),
                         cudaSuccess);
        assert_memory_equal(joined.data(), records.data(), joined.size());
        cudaFree(device_planes);
        cudaFree(target);
    }
}

static void a_decoder_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    struct entro_cuda_decoder decoder;
    const struct entro_cuda_limits limits = {65536, 65535, 1};
    for (long i = 0; i < 2; i++) {
        entro_emulator.fail_allocation = i;
        assert_int_equal(entro_cuda_decoder_create(&decoder, &limits), cudaErrorMemoryAllocation);
        assert_int_equal(entro_emulator_device_bytes(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gaussian_blocks_of_all_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_largest_block_does_without_shared_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tiny_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_deepest_tree_and_trees_of_one_leaf, set_up, tear_down),
        cmocka_unit_test_setup_teardown(blocks_with_a_coded_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(constant_and_raw_blocks_among_coded_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_cpu_refuses_is_refused_and_nothing_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(planes_of_floats_are_joined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_decoder_that_does_not_fit_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("GPU block decoder", tests, nullptr, nullptr);
}
