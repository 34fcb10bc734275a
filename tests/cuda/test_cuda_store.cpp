/* Stored bytes from an image to tensors on the (emulated) card: loaded and decoded, and kept coded; each
 * verified by its XXH3-128. */
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

#include <xxhash.h>

#include "cmocka_cpp.h"
#include "coded_image.h"
#include "emulator.h"
#include "runner/coded_source.h"
#include "runner/cuda/store.h"

static const char *const names[] = {"bf16", "constant", "empty", "f16", "f32", "u4", "u8"};
static const size_t N_TENSORS = sizeof names / sizeof *names;

static char path[] = "/tmp/entrofs-coded-XXXXXX";

struct setting {
    struct entro_coded_source *source;
    struct entro_coded_stream *streams[N_TENSORS];
    struct entro_gpu_coded_tensor tensors[N_TENSORS];
    uint64_t size_bytes; /* of all tensors behind each other */
};

static int set_up(void **state)
{
    struct entro_message message;
    struct setting *setting = static_cast<struct setting *>(calloc(1, sizeof *setting));
    *state = setting;
    entro_emulator_reset();
    if (entro_coded_source_open(&setting->source, path, &message) != ENTRO_OK)
        return -1;
    for (size_t i = 0; i < N_TENSORS; i++) {
        if (entro_coded_stream_create(&setting->streams[i], setting->source, names[i], &message) != ENTRO_OK)
            return -1;
        setting->tensors[i].coded = &setting->streams[i]->coded;
        setting->tensors[i].source = setting->streams[i];
        setting->tensors[i].target = setting->size_bytes;
        setting->size_bytes += (setting->streams[i]->coded.size_bytes + 255) / 256 * 256;
    }
    return 0;
}

static int tear_down(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    for (size_t i = 0; i < N_TENSORS; i++)
        entro_coded_stream_free(setting->streams[i]);
    entro_coded_source_close(setting->source);
    free(setting);
    return entro_emulator_device_bytes() == 0 && entro_emulator_pinned_bytes() == 0 ? 0 : -1;
}

static void check_tensor(const struct setting *setting, size_t i, const uint8_t *device)
{
    size_t n = setting->streams[i]->coded.size_bytes;
    std::vector<uint8_t> bytes(n + 1);
    XXH128_canonical_t found;
    assert_int_equal(cudaMemcpy(bytes.data(), device, n, cudaMemcpyDeviceToHost), cudaSuccess);
    XXH128_canonicalFromHash(&found, XXH3_128bits(bytes.data(), n));
    assert_memory_equal(found.digest, setting->streams[i]->xxh3_128, 16);
}

/* With a loader of its own. */
static int load_coded(const struct setting *setting, uint8_t *base, uint64_t max_stored_bytes,
                      entro_cuda_fill *fill, unsigned n_threads, struct entro_cuda_message *message)
{
    struct entro_gpu_loader *loader;
    int status = entro_gpu_loader_create(&loader, n_threads, message);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_load_coded(setting->tensors, N_TENSORS, base, max_stored_bytes, loader, fill,
                                      nullptr, message);
    entro_gpu_loader_free(loader);
    return status;
}

static int create_resident(struct entro_gpu_resident **resident, const struct setting *setting,
                           unsigned n_threads, struct entro_cuda_message *message)
{
    struct entro_gpu_loader *loader;
    int status = entro_gpu_loader_create(&loader, n_threads, message);
    if (status == ENTRO_CUDA_OK)
        status = entro_gpu_resident_create(resident, setting->tensors, N_TENSORS, loader, entro_coded_fill,
                                           message);
    entro_gpu_loader_free(loader);
    return status;
}

static void tensors_are_decoded_as_they_are_loaded(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    struct entro_cuda_message message;
    uint8_t *base;
    static const uint64_t limits[] = {ENTRO_GPU_LOAD_BYTES, 100000, 0};
    assert_int_equal(cudaMalloc(&base, setting->size_bytes), cudaSuccess);
    for (uint64_t limit : limits) {
        assert_int_equal(cudaMemset(base, 0xee, setting->size_bytes), cudaSuccess);
        int status = load_coded(setting, base, limit, entro_coded_fill, 2, &message);
        if (status != ENTRO_CUDA_OK)
            fail_msg("%s", message.text);
        for (size_t i = 0; i < N_TENSORS; i++)
            check_tensor(setting, i, base + setting->tensors[i].target);
    }
    cudaFree(base);
}

/* So that a card that is too small is told before anything is read. */
static void memory_is_what_was_said(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    struct entro_cuda_message message;
    struct entro_gpu_resident *resident;
    static const uint64_t limits[] = {ENTRO_GPU_LOAD_BYTES, 0};
    uint8_t *base;
    assert_int_equal(cudaMalloc(&base, setting->size_bytes), cudaSuccess);
    for (uint64_t limit : limits) {
        uint64_t said = entro_gpu_load_coded_bytes(setting->tensors, N_TENSORS, limit);
        entro_emulator_forget_peak();
        assert_int_equal(load_coded(setting, base, limit, entro_coded_fill, 2, &message), ENTRO_CUDA_OK);
        assert_int_equal(entro_emulator_peak_bytes() - setting->size_bytes, said);
    }
    assert_true(entro_gpu_load_coded_bytes(setting->tensors, N_TENSORS, 0) <
                entro_gpu_load_coded_bytes(setting->tensors, N_TENSORS, ENTRO_GPU_LOAD_BYTES));
    cudaFree(base);
    uint64_t said = entro_gpu_resident_bytes(setting->tensors, N_TENSORS);
    entro_emulator_forget_peak();
    assert_int_equal(create_resident(&resident, setting, 2, &message), ENTRO_CUDA_OK);
    assert_int_equal(entro_emulator_device_bytes(), said);
    assert_int_equal(entro_emulator_peak_bytes(), said);
    entro_gpu_resident_free(resident);
}

/* Seven groups of a tensor each, twice over, as the layers of two tokens; then the same from a graph. */
static void tensors_that_stay_coded_are_decoded_for_each_use(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    struct entro_cuda_message message;
    struct entro_gpu_resident *resident;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    for (size_t i = 0; i < N_TENSORS; i++) {
        setting->tensors[i].group = (uint32_t)i;
        setting->tensors[i].target = 256;
    }
    int status = create_resident(&resident, setting, 2, &message);
    if (status != ENTRO_CUDA_OK)
        fail_msg("%s", message.text);
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    for (unsigned token = 0; token < 2; token++) {
        assert_int_equal(entro_gpu_resident_start(resident, stream), cudaSuccess);
        for (uint32_t i = 0; i < N_TENSORS; i++) {
            uint8_t *base = entro_gpu_resident_base(resident, i);
            assert_int_equal(entro_gpu_resident_use(resident, i, stream), cudaSuccess);
            assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
            check_tensor(setting, i, base + 256);
            assert_int_equal(cudaMemsetAsync(base, 0xee, 256 + setting->streams[i]->coded.size_bytes, stream),
                             cudaSuccess);
            assert_int_equal(entro_gpu_resident_done(resident, i, stream), cudaSuccess);
        }
    }
    std::vector<uint8_t *> copies(N_TENSORS);
    for (size_t i = 0; i < N_TENSORS; i++)
        assert_int_equal(cudaMalloc(&copies[i], setting->streams[i]->coded.size_bytes + 1), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(entro_gpu_resident_start(resident, stream), cudaSuccess);
    for (uint32_t i = 0; i < N_TENSORS; i++) {
        size_t n = setting->streams[i]->coded.size_bytes;
        assert_int_equal(entro_gpu_resident_use(resident, i, stream), cudaSuccess);
        assert_int_equal(cudaMemcpyAsync(copies[i], entro_gpu_resident_base(resident, i) + 256, n,
                                         cudaMemcpyDeviceToDevice, stream),
                         cudaSuccess);
        assert_int_equal(entro_gpu_resident_done(resident, i, stream), cudaSuccess);
    }
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    for (size_t i = 0; i < N_TENSORS; i++) {
        check_tensor(setting, i, copies[i]);
        cudaFree(copies[i]);
    }
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    entro_gpu_resident_free(resident);
}

/* A source whose u8 tensor has a byte that is not what was written, though nobody says so. */
static int fill_wrong(const void *stream, uint64_t offset, size_t n, void *to,
                      struct entro_cuda_message *message)
{
    int failed = entro_coded_fill(stream, offset, n, to, message);
    const struct entro_coded_stream *own = static_cast<const struct entro_coded_stream *>(stream);
    if (own->coded.size_bytes == 200000 && offset == 0)
        static_cast<uint8_t *>(to)[0] ^= 1;
    return failed;
}

static int fill_fails(const void *, uint64_t, size_t, void *, struct entro_cuda_message *message)
{
    strcpy(message->text, "no such luck");
    return 1;
}

static void failures_have_a_message_and_leave_nothing(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    struct entro_cuda_message message;
    struct entro_gpu_resident *resident;
    uint8_t *base;
    assert_int_equal(cudaMalloc(&base, setting->size_bytes), cudaSuccess);
    size_t before = entro_emulator_device_bytes();
    assert_int_equal(load_coded(setting, base, ENTRO_GPU_LOAD_BYTES, fill_wrong, 1, &message),
                     ENTRO_CUDA_SOURCE);
    assert_non_null(strstr(message.text, "malformed"));
    assert_int_equal(load_coded(setting, base, ENTRO_GPU_LOAD_BYTES, fill_fails, 1, &message),
                     ENTRO_CUDA_SOURCE);
    assert_string_equal(message.text, "no such luck");
    /* Each allocation in turn. */
    unsigned n_failed = 0;
    for (long i = 0; i < 40; i++) {
        entro_emulator.fail_allocation = i;
        int status = create_resident(&resident, setting, 1, &message);
        bool ran_out = status == ENTRO_CUDA_NO_MEMORY;
        entro_emulator.fail_allocation = -1;
        if (status == ENTRO_CUDA_OK)
            entro_gpu_resident_free(resident);
        else
            assert_true(ran_out);
        n_failed += ran_out;
        assert_int_equal(entro_emulator_device_bytes(), before);
        assert_int_equal(entro_emulator_pinned_bytes(), 0);
    }
    assert_true(n_failed >= 9);
    cudaFree(base);
}

static void stored_bytes_are_read_in_any_parts(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    const struct entro_coded_stream *stream = setting->streams[N_TENSORS - 1];
    struct entro_message message;
    size_t n = stream->coded.stored_bytes;
    std::vector<uint8_t> whole(n), parts(n);
    assert_true(stream->coded.n_blocks > 3 && n < 200000);
    assert_int_equal(entro_coded_stream_read(stream, 0, n, whole.data(), &message), ENTRO_OK);
    for (size_t i = 0, each = 1; i < n; i += each, each = each * 3 % 50021 + 1)
        assert_int_equal(entro_coded_stream_read(stream, i, each < n - i ? each : n - i, &parts[i], &message),
                         ENTRO_OK);
    assert_memory_equal(parts.data(), whole.data(), n);
    assert_int_equal(entro_coded_stream_read(stream, n, 0, parts.data(), &message), ENTRO_OK);
    assert_int_equal(entro_coded_stream_read(stream, n - 1, 2, parts.data(), &message), ENTRO_ERROR_ARGUMENT);
}

static void what_the_gpu_does_not_decode_is_said(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    struct entro_coded_stream *stream;
    struct entro_coded_source *source;
    struct entro_message message;
    assert_int_equal(entro_coded_stream_create(&stream, setting->source, "q8_0", &message),
                     ENTRO_ERROR_UNSUPPORTED);
    assert_int_equal(entro_coded_stream_create(&stream, setting->source, "u9", &message),
                     ENTRO_ERROR_NOT_FOUND);
    assert_int_equal(entro_coded_source_open(&source, "/nowhere", &message), ENTRO_ERROR_IO);
}

static void a_damaged_block_is_found_before_it_is_decoded(void **state)
{
    struct setting *setting = static_cast<struct setting *>(*state);
    const struct entro_coded_stream *stream = setting->streams[N_TENSORS - 1];
    struct entro_message message;
    struct entro_cuda_message gpu_message;
    std::vector<uint8_t> bytes(stream->coded.stored_bytes);
    uint8_t byte, *base;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    long place = (long)stream->offsets[1] + 10;
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, file), 1);
    byte ^= 4;
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(entro_coded_stream_read(stream, 0, bytes.size(), bytes.data(), &message),
                     ENTRO_ERROR_CHECKSUM);
    assert_int_equal(cudaMalloc(&base, setting->size_bytes), cudaSuccess);
    assert_int_equal(load_coded(setting, base, ENTRO_GPU_LOAD_BYTES, entro_coded_fill, 2, &gpu_message),
                     ENTRO_CUDA_SOURCE);
    assert_non_null(strstr(gpu_message.text, "checksum mismatch"));
    cudaFree(base);
    byte ^= 4;
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    fclose(file);
}

static int make_image(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    coded_image_write(path);
    return 0;
}

static int remove_image(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tensors_are_decoded_as_they_are_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_is_what_was_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tensors_that_stay_coded_are_decoded_for_each_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_have_a_message_and_leave_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stored_bytes_are_read_in_any_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_gpu_does_not_decode_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_block_is_found_before_it_is_decoded, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("coded weights on the GPU", tests, make_image, remove_image);
}
