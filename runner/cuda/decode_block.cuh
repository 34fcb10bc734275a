/*
 * Decodes pivot-coded blocks (codec/FORMAT.md, "Coded blocks") from the top down, as a wavelet tree is read:
 * an output's bit in the root's bitmap says left or right, the ones before it say where it is in that child,
 * and so on to its leaf. Outputs do not depend on each other, and there are no lists in between.
 *
 * Cost. A bottom-up decoder, the CPU's way, would need two buffers of a block's size beside the stored bytes:
 * more shared memory than most cards have, and a barrier a level. Here a block's stored bytes lie in shared
 * memory in words of 32 bits, each beside the number of ones before it (of the whole block, all nodes
 * together: the ones before a bit of a node are a difference of two). A question is then a load of the node,
 * one of 8 bytes, one popcount and some ten other instructions. But the threads of a warp go as deep as its
 * deepest symbol: with codebooks as mkentrofs makes them an output takes 1.9 to 2.1 questions on average, and
 * a warp 5.7 to 7.1. Hence strata of two levels: the nodes that hang at a stratum's lower end are decoded
 * first, into lists in a scratch buffer (which stays in L1 and L2), and are like leaves to what is above.
 * That makes 2.6 to 2.8 questions and 1.3 outputs a byte, lanes that wait included (3 levels: 3.3 to 3.6,
 * and 1.1 to 1.2). The first question is one for four outputs, which share a word. Some 7 + 1.6 * 14 + 1.3 *
 * 16 instructions a byte, and 5 for loading and counting ones:
 * 55. An H100 issues 2.9e13 a second: 500 GB/s if nothing else stood in the way, 300 at three fifths of that.
 * Counted, not measured.
 *
 * Safety. Whatever the stored bytes are: counts add up to the block's size, records lie within the block, and
 * each bitmap has as many ones as symbols go right, or the block is refused before anything is decoded. Then
 * all places that are read or written are within bounds by arithmetic. What is refused is what the CPU's
 * decoder refuses.
 */
#ifndef ENTRO_CUDA_DECODE_BLOCK_CUH
#define ENTRO_CUDA_DECODE_BLOCK_CUH

#include "decode.h"
#include "decode_indices.h"
#include "device.h"

/* Threads that decode a block together. At least 256: a step each. */
#define ENTRO_DECODE_THREADS 512

/* Where a child leads: a kind in the upper half, a symbol or a step in the lower. */
#define ENTRO_REF_CONSTANT 0x00000U
#define ENTRO_REF_MERGE    0x10000U
#define ENTRO_REF_FLAT     0x20000U
#define ENTRO_REF_LIST     0x30000U
#define ENTRO_REF_KIND     0x30000U
#define ENTRO_REF_STEP     0x000ffU

/* Levels of a stratum, and how many there can be: a merge has less than 15 above it. */
#define ENTRO_STRATUM_LEVELS 2U
#define ENTRO_MAX_STRATA     8U

/* A step with a record, ready to be read. */
struct __align__(16) entro_decode_node
{
    uint32_t first_bit; /* of its record, in the words */
    uint32_t ones;      /* in the words before it; of a flat leaf: its width + 16 * its first rank */
    uint32_t left, right;
};

/* A block's tables: one in shared memory. */
struct entro_decode_tables {
    struct entro_decode_node nodes[ENTRO_CUDA_MAX_STEPS + 1];
    uint32_t counts[ENTRO_CUDA_MAX_LEAVES + 8];
    uint32_t before[ENTRO_CUDA_MAX_LEAVES + 8]; /* symbols + 2^24 * leaves that have any, before each leaf */
    uint32_t scan[ENTRO_DECODE_THREADS / ENTRO_WARP];
    uint8_t symbol_of_rank[512];
    uint16_t lists[ENTRO_CUDA_MAX_STEPS + 1]; /* their roots' steps + 256 * stratum, in no order */
    uint32_t n_lists;
    uint32_t header_bytes;
    uint32_t is_bad;
    uint32_t root_bytes;  /* of the root's coded bitmap; 0: it is not coded */
    uint32_t root_source; /* where it begins in the block */
    uint32_t top;         /* a reference */
};

static __device__ __forceinline__ uint32_t entro_symbols_before(const struct entro_decode_tables *t,
                                                                uint32_t leaf)
{
    return t->before[leaf] & 0xffffffU;
}

/* Symbols + 2^24 * leaves of a range. */
static __device__ __forceinline__ uint32_t entro_packed_count(const struct entro_decode_tables *t,
                                                              uint32_t first, uint32_t end)
{
    return t->before[end] - t->before[first];
}

static __device__ __forceinline__ bool entro_is_merge(const struct entro_decode_tables *t,
                                                      const struct entro_cuda_step *step)
{
    return step->is_leaf == 0 && entro_packed_count(t, step->first_leaf, step->split_leaf) != 0 &&
           entro_packed_count(t, step->split_leaf, step->end_leaf) != 0;
}

/* Where in the scratch buffer the list of a subtree begins. */
static __device__ __forceinline__ uint32_t entro_list_place(const struct entro_decode_tables *t,
                                                            const struct entro_cuda_step *step)
{
    return entro_list_offset(entro_symbols_before(t, step->first_leaf), step->first_leaf);
}

/* What a subtree with symbols is to something above it; `merge` the kind where it is a merge. */
static __device__ uint32_t entro_reference(const struct entro_cuda_plan *plan,
                                           const struct entro_decode_tables *t, uint32_t step, uint32_t first,
                                           uint32_t end, uint32_t merge)
{
    while (end - first > 1) {
        const struct entro_cuda_step *s = &plan->steps[step];
        uint32_t split = s->split_leaf;
        bool has_left = entro_packed_count(t, first, split) != 0;
        if (has_left && entro_packed_count(t, split, end) != 0)
            return merge | step;
        step = has_left ? s->left : s->right;
        if (has_left)
            end = split;
        else
            first = split;
    }
    const struct entro_cuda_leaf *leaf = &plan->leaves[first];
    return leaf->width == 0 ? ENTRO_REF_CONSTANT | plan->symbol_of_rank[leaf->first_rank]
                            : ENTRO_REF_FLAT | leaf->step;
}

/* The sum of the values of the threads before this one; *total that of all. `room`: a word a warp. */
static __device__ uint32_t entro_block_scan(uint32_t value, uint32_t *room, uint32_t *total)
{
    uint32_t lane = threadIdx.x % ENTRO_WARP, warp = threadIdx.x / ENTRO_WARP, sum = value;
    for (uint32_t step = 1; step < ENTRO_WARP; step *= 2) {
        uint32_t other = __shfl_up_sync(ENTRO_ALL_LANES, sum, step);
        sum += lane >= step ? other : 0;
    }
    __syncthreads();
    if (lane == ENTRO_WARP - 1)
        room[warp] = sum;
    __syncthreads();
    uint32_t before = 0, all = 0;
    for (uint32_t i = 0; i < blockDim.x / ENTRO_WARP; i++) {
        before += i < warp ? room[i] : 0;
        all += room[i];
    }
    *total = all;
    return before + sum - value;
}

/* n_bytes from any address on into words first..; the bytes behind the last one are 0. Reads whole aligned
 * words. */
static __device__ void entro_load_words(struct entro_ranked_word *words, const uint8_t *bytes,
                                        uint32_t n_bytes)
{
    uint32_t shift = (uint32_t)(reinterpret_cast<uintptr_t>(bytes) % 4);
    const uint32_t *aligned = reinterpret_cast<const uint32_t *>(bytes - shift);
    uint32_t n_words = (n_bytes + 3) / 4, last = (shift + n_bytes + 3) / 4 - 1;
    for (uint32_t i = threadIdx.x; i < n_words; i += blockDim.x) {
        uint32_t bits = __funnelshift_r(aligned[i], aligned[i < last ? i + 1 : last], 8 * shift);
        uint32_t n_used = n_bytes - 4 * i;
        words[i].bits = n_used < 4 ? bits & ((1U << 8 * n_used) - 1) : bits;
    }
}

static __device__ __forceinline__ uint32_t entro_byte(const struct entro_ranked_word *words, uint32_t i)
{
    return words[i / 4].bits >> 8 * (i % 4) & 255;
}

/* The counts of the leaves, by the first warp: LEB128 of at most three bytes, in the shortest form. */
static __device__ void entro_read_counts(const struct entro_cuda_plan *plan, struct entro_decode_tables *t,
                                         const struct entro_ranked_word *words, uint32_t n_bytes)
{
    uint32_t lane = threadIdx.x, n_leaves = plan->n_leaves;
    uint32_t leaves = 0, open = 0; /* ended before this round, and bytes of the one that is not */
    for (uint32_t from = 0; leaves < n_leaves; from += ENTRO_WARP) {
        bool is_there = from + lane < n_bytes;
        uint32_t byte = is_there ? entro_byte(words, from + lane) : 0x80;
        uint32_t ends = __ballot_sync(ENTRO_ALL_LANES, byte < 0x80);
        uint32_t ends_before = ends & ~(0xffffffffU << lane);
        uint32_t leaf = leaves + (uint32_t)__popc(ends_before);
        uint32_t digit = ends_before == 0 ? lane + open : lane - (32U - (uint32_t)__clz((int)ends_before));
        if (leaf < n_leaves) {
            if (digit > 2 || (digit > 0 && byte == 0))
                t->is_bad = 1;
            else
                atomicOr(&t->counts[leaf], (byte & 0x7fU) << 7 * digit);
            if (leaf == n_leaves - 1 && byte < 0x80)
                t->header_bytes = from + lane + 1;
        }
        leaves += (uint32_t)__popc(ends);
        open = ends == 0 ? open + ENTRO_WARP : (uint32_t)__clz((int)ends);
        if (open > 3 * ENTRO_WARP || from >= n_bytes)
            break;
    }
    __syncwarp();
    if (lane == 0 && t->header_bytes == 0)
        t->is_bad = 1;
}

/* Sums before each leaf, by the first warp: four leaves a lane. */
static __device__ void entro_sum_counts(const struct entro_cuda_plan *plan, struct entro_decode_tables *t,
                                        uint32_t size)
{
    uint32_t lane = threadIdx.x, values[4], sum = 0;
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t leaf = 4 * lane + k, count = leaf < plan->n_leaves ? t->counts[leaf] : 0;
        if (count > size) { /* so that sums keep to 24 bits */
            t->is_bad = 1;
            count = 0;
        }
        values[k] = sum;
        sum += count + (count > 0 ? 1U << 24 : 0);
    }
    uint32_t before = sum;
    for (uint32_t step = 1; step < ENTRO_WARP; step *= 2) {
        uint32_t other = __shfl_up_sync(ENTRO_ALL_LANES, before, step);
        before += lane >= step ? other : 0;
    }
    before -= sum;
    for (uint32_t k = 0; k < 4; k++)
        t->before[4 * lane + k] = before + values[k];
    __syncwarp();
    if (lane == 0 && entro_symbols_before(t, plan->n_leaves) != size)
        t->is_bad = 1;
}

/*
 * From the loaded words to the tables: counts, places of records, checks, references, ones of the words.
 * False: no encoder writes this. Where the root's bitmap is coded (root_bytes is set) and not there, in the
 * words behind the stored ones, the rest is left for a second call. All threads call it.
 */
static __device__ bool entro_prepare(const struct entro_cuda_plan *plan, struct entro_decode_tables *t,
                                     struct entro_ranked_word *words, uint32_t stored_bytes, uint32_t size,
                                     bool may_have_coded_root, bool has_root_bitmap)
{
    uint32_t i = threadIdx.x, root_step = plan->n_steps - 1;
    __syncthreads();
    if (i < ENTRO_CUDA_MAX_LEAVES + 8)
        t->counts[i] = 0;
    for (uint32_t k = i; k < 512; k += blockDim.x)
        t->symbol_of_rank[k] = plan->symbol_of_rank[k];
    if (i == 0) {
        t->n_lists = 0;
        t->header_bytes = 0;
        t->is_bad = 0;
        t->root_bytes = 0;
    }
    __syncthreads();
    if (i < ENTRO_WARP) {
        entro_read_counts(plan, t, words, stored_bytes);
        __syncwarp();
        entro_sum_counts(plan, t, size);
    }
    __syncthreads();
    if (t->is_bad != 0)
        return false;

    /* Records, a step a thread. */
    uint32_t n_bits = 0;
    bool is_merge = false;
    const struct entro_cuda_step *step = &plan->steps[i <= root_step ? i : 0];
    if (i <= root_step) {
        uint32_t n = entro_packed_count(t, step->first_leaf, step->end_leaf) & 0xffffffU;
        is_merge = entro_is_merge(t, step);
        n_bits = step->is_leaf ? n * plan->leaves[step->first_leaf].width : is_merge ? n : 0;
    }
    uint32_t total, n_bytes = (n_bits + 7) / 8;
    uint32_t offset = t->header_bytes + entro_block_scan(n_bytes, t->scan, &total);
    total += t->header_bytes;
    if (i == root_step && is_merge && may_have_coded_root && total > stored_bytes && offset <= stored_bytes) {
        t->root_source = offset;
        t->root_bytes = stored_bytes - offset;
        if (t->root_bytes == 0)
            t->is_bad = 1;
        offset = (stored_bytes + 3) / 4 * 4; /* behind the stored bytes */
    }
    __syncthreads();
    if (t->is_bad != 0 || (t->root_bytes == 0 && total != stored_bytes))
        return false;
    bool is_whole = t->root_bytes == 0 || has_root_bitmap;
    if (!is_whole)
        return true;

    /* Ones: each thread an odd number of words in a row, so that its neighbours use other banks. */
    uint32_t n_words = (stored_bytes + 3) / 4 + (t->root_bytes != 0 ? ((size + 7) / 8 + 3) / 4 : 0);
    uint32_t n_each = ((n_words + blockDim.x - 1) / blockDim.x) | 1, sum = 0;
    uint32_t from = i * n_each < n_words ? i * n_each : n_words;
    uint32_t to = n_words - from < n_each ? n_words : from + n_each;
    for (uint32_t w = from; w < to; w++)
        sum += (uint32_t)__popc(words[w].bits);
    uint32_t all, ones = entro_block_scan(sum, t->scan, &all);
    for (uint32_t w = from; w < to; w++) {
        words[w].ones = ones;
        ones += (uint32_t)__popc(words[w].bits);
    }
    if (i == 0) { /* a question right behind the last bit */
        words[n_words].bits = 0;
        words[n_words].ones = all;
    }
    __syncthreads();

    /* A record's unused bits are 0, and it has as many ones as symbols go right. */
    if (i <= root_step && n_bits > 0) {
        struct entro_decode_node node;
        uint32_t last = entro_byte(words, offset + n_bytes - 1), value;
        if (n_bits % 8 != 0 && last >> n_bits % 8 != 0)
            t->is_bad = 1;
        node.first_bit = 8 * offset;
        if (is_merge) {
            uint32_t right = entro_packed_count(t, step->split_leaf, step->end_leaf) & 0xffffffU;
            uint32_t above = 0; /* merges: nodes that a symbol's way really forks at */
            for (uint32_t p = step->parent; p != ENTRO_CUDA_NO_STEP; p = plan->steps[p].parent)
                above += entro_is_merge(t, &plan->steps[p]);
            bool is_last = (above + 1) % ENTRO_STRATUM_LEVELS == 0;
            uint32_t merge = is_last ? ENTRO_REF_LIST : ENTRO_REF_MERGE;
            uint32_t stratum = (above + 1) / ENTRO_STRATUM_LEVELS;
            node.ones = entro_rank(words, node.first_bit, &value);
            if (entro_rank(words, node.first_bit + n_bits, &value) - node.ones != right)
                t->is_bad = 1;
            node.left = entro_reference(plan, t, step->left, step->first_leaf, step->split_leaf, merge);
            node.right = entro_reference(plan, t, step->right, step->split_leaf, step->end_leaf, merge);
            if ((node.left & ENTRO_REF_KIND) == ENTRO_REF_LIST)
                t->lists[atomicAdd(&t->n_lists, 1U)] = (uint16_t)(stratum << 8 | (node.left & 255));
            if ((node.right & ENTRO_REF_KIND) == ENTRO_REF_LIST)
                t->lists[atomicAdd(&t->n_lists, 1U)] = (uint16_t)(stratum << 8 | (node.right & 255));
        } else {
            const struct entro_cuda_leaf *leaf = &plan->leaves[step->first_leaf];
            node.ones = leaf->width + 16U * leaf->first_rank;
            node.left = node.right = 0;
        }
        t->nodes[i] = node;
    }
    if (i == 0)
        t->top = entro_reference(plan, t, root_step, 0, plan->n_leaves, ENTRO_REF_MERGE);
    __syncthreads();
    return t->is_bad == 0;
}

/* Symbols first..first+3 (first a multiple of 4) of what `top` leads to, low byte first; 0 beyond its last.
 */
static __device__ __forceinline__ uint32_t entro_four_symbols(const struct entro_cuda_plan *plan,
                                                              const struct entro_decode_tables *t,
                                                              const struct entro_ranked_word *words,
                                                              const uint8_t *lists, uint32_t top,
                                                              uint32_t first, uint32_t n)
{
    uint32_t refs[4], places[4], symbols = 0;
    bool is_merge = (top & ENTRO_REF_KIND) == ENTRO_REF_MERGE;
    struct entro_decode_node node = t->nodes[top & ENTRO_REF_STEP];
    uint32_t four = 0, ones = 0;
    if (is_merge) { /* records begin with a byte: four bits from a multiple of four on are in one word */
        uint32_t bit;
        ones = entro_rank(words, node.first_bit + first, &bit) - node.ones;
        four = words[(node.first_bit + first) / 32].bits >> (node.first_bit + first) % 32;
    }
    ENTRO_UNROLL
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t bit = four >> k & 1;
        refs[k] = is_merge ? bit != 0 ? node.right : node.left : top;
        places[k] = is_merge && bit != 0 ? ones : first + k - ones;
        ones += bit;
        if (first + k >= n) /* no such output */
            refs[k] = ENTRO_REF_CONSTANT;
    }
    for (uint32_t level = 1; level < ENTRO_STRATUM_LEVELS; level++) {
        ENTRO_UNROLL
        for (uint32_t k = 0; k < 4; k++) {
            if ((refs[k] & ENTRO_REF_KIND) != ENTRO_REF_MERGE)
                continue;
            struct entro_decode_node next = t->nodes[refs[k] & ENTRO_REF_STEP];
            uint32_t bit, before = entro_rank(words, next.first_bit + places[k], &bit) - next.ones;
            places[k] = bit != 0 ? before : places[k] - before;
            refs[k] = bit != 0 ? next.right : next.left;
        }
    }
    ENTRO_UNROLL
    for (uint32_t k = 0; k < 4; k++) {
        uint32_t kind = refs[k] & ENTRO_REF_KIND, symbol = refs[k] & 255;
        if (kind == ENTRO_REF_FLAT) {
            struct entro_decode_node leaf = t->nodes[symbol];
            uint32_t width = leaf.ones % 16;
            symbol = t->symbol_of_rank[leaf.ones / 16 +
                                       entro_bits(words, leaf.first_bit + places[k] * width, width)];
        } else if (kind == ENTRO_REF_LIST) {
            symbol = lists[entro_list_place(t, &plan->steps[symbol]) + places[k]];
        }
        symbols |= symbol << 8 * k;
    }
    return symbols;
}

/* n symbols of what `top` leads to. */
static __device__ void entro_decode_list(const struct entro_cuda_plan *plan,
                                         const struct entro_decode_tables *t,
                                         const struct entro_ranked_word *words, const uint8_t *lists,
                                         uint32_t top, uint8_t *target, uint32_t n)
{
    bool is_aligned = reinterpret_cast<uintptr_t>(target) % 4 == 0;
    for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x) {
        uint32_t symbols = entro_four_symbols(plan, t, words, lists, top, i, n);
        if (is_aligned && n - i >= 4) {
            *reinterpret_cast<uint32_t *>(target + i) = symbols;
            continue;
        }
        for (uint32_t k = 0; k < 4 && k < n - i; k++)
            target[i + k] = (uint8_t)(symbols >> 8 * k);
    }
}

/* The whole of a prepared block. Each half of `scratch` holds the lists of every other stratum: those of one
 * are made from those of the one below it, and are written over by those of the one above the next. */
static __device__ void entro_decode_prepared(const struct entro_cuda_plan *plan,
                                             const struct entro_decode_tables *t,
                                             const struct entro_ranked_word *words, uint8_t *scratch,
                                             uint32_t scratch_half, uint8_t *target, uint32_t size)
{
    for (uint32_t stratum = ENTRO_MAX_STRATA - 1; stratum > 0 && t->n_lists != 0; stratum--) {
        uint8_t *own = scratch + stratum % 2 * scratch_half;
        const uint8_t *below = scratch + (stratum + 1) % 2 * scratch_half;
        for (uint32_t k = 0; k < t->n_lists; k++) {
            if (t->lists[k] >> 8 != stratum)
                continue;
            const struct entro_cuda_step *step = &plan->steps[t->lists[k] & 255];
            uint32_t n = entro_packed_count(t, step->first_leaf, step->end_leaf) & 0xffffffU;
            entro_decode_list(plan, t, words, below, ENTRO_REF_MERGE | (t->lists[k] & 255U),
                              own + entro_list_place(t, step), n);
        }
        __syncthreads();
    }
    entro_decode_list(plan, t, words, scratch + scratch_half, t->top, target, size);
}

#endif
