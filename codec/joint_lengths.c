/*
 * Code lengths by dynamic programming; see joint_lengths.h. What a code of these lengths looks like is
 * pivot_plan.c's business; of it, this file knows the rule that cuts the symbols of one length into leaves.
 *
 * With the symbols sorted by falling count, a code is the number of symbols of each length. The search goes
 * from length to length; its states are (symbols placed, nodes of this depth still free), its costs are
 * decoding time, and size at a price. States that cannot end within the size allowed are dropped (a bound:
 * the entropy of the symbols left), and of the others all but the most promising. All arithmetic is in
 * integers, so that lengths do not depend on the machine.
 */
#include "codec/joint_lengths.h"

#include <stdlib.h>
#include <string.h>

/* Counts are scaled to this sum, so that costs of any plane fit 64 bits. */
#define TOTAL ((int64_t)1 << 32)

/* Sizes and logarithms are in 1/4096 bit. */
#define FRACTION_LOG2 12
#define BIT           ((int64_t)1 << FRACTION_LOG2)

/*
 * Decoding costs in units of 0.1 ps: of a symbol in a merge and in an unpacking, of a node with a record, of
 * a leaf's count. As measured with the AVX-512 kernels; elsewhere they are larger, in much the same
 * proportions.
 */
#define MERGE_COST          ((int64_t)250)
#define CONSTANT_MERGE_COST 190
#define NODE_COST           100000
#define COUNT_COST          20000
static const int64_t unpack_cost[8 + 1] = {0, 170, 190, 190, 190, 190, 190, 220, 270};

/* The size allowed is that of the optimal code and this many parts in 10,000 more; the few where that code
 * itself is far above the entropy. */
#define MORE_PARTS      25
#define FEW_PARTS       5
#define FAR_ABOVE_PARTS 250

/*
 * What a bit may cost, in units of cost, and at which of these prices codes are compared in the end. The
 * lowest price would do if all states were kept and each kept its best ways to all sizes. At it, 1 % of size
 * is worth about a third of the time.
 */
static const int64_t prices[] = {5000, 3000, 8000};
#define FINAL_PRICE 3000

/* States kept of each length: all of them would gain less than 0.5 % of the time at the same price. In a
 * plane of fewer symbols than LARGE, a search may take a good part of the time of encoding: it keeps fewer,
 * and tries the first price alone. */
#define LARGE        ((uint64_t)1 << 22)
#define SMALL_STATES 64
#define MAX_STATES   128

/* The numbers of symbols that one length may have: up to 3 leaves' worth if they are few, else 2. */
#define MAX_MOVES 50
#define MAX_NEXT  (MAX_STATES * MAX_MOVES)

struct state {
    int64_t cost; /* of the symbols placed: time, and size at the price */
    int64_t size;
    uint16_t n_placed;
    uint16_t n_free; /* nodes */
    uint16_t from;   /* the state of the length before */
};

/* What symbols of one length cost, apart from length times MERGE_COST a symbol. */
struct share {
    int64_t time;
    int64_t size; /* counts and padding of their records */
};

struct search {
    unsigned n;                             /* symbols that occur */
    uint8_t symbols[ENTRO_N_SYMBOLS];       /* by falling count */
    int64_t before[ENTRO_N_SYMBOLS + 1];    /* sums of their scaled counts */
    int64_t entropy[ENTRO_N_SYMBOLS + 1];   /* of those from here on: sums of count * -log2(count) */
    int64_t log2_rest[ENTRO_N_SYMBOLS + 1]; /* of the sum of the counts from here on */
    int64_t log2_of[ENTRO_N_SYMBOLS + 1];   /* of small numbers */
    int64_t once_a_block;                   /* scaled count of one symbol a block */
    int64_t allowed_size;
    unsigned max_states;
    bool is_large;
    unsigned n_moves;
    uint16_t moves[MAX_MOVES];                           /* numbers of symbols of one length, ascending */
    struct share shares[ENTRO_N_SYMBOLS + 1][MAX_MOVES]; /* [first symbol][move]; size 0: not computed yet */
    unsigned n_states[ENTRO_MAX_CODE_LENGTH + 2];
    struct state states[ENTRO_MAX_CODE_LENGTH + 2][MAX_STATES]; /* before symbols of that length are placed */
    struct state next[MAX_NEXT];
    int64_t estimates[MAX_NEXT];
    uint16_t slots[ENTRO_N_SYMBOLS + 1]
                  [ENTRO_N_SYMBOLS + 1]; /* in next, by n_placed and n_free; counted from 1, 0: none */
};

/* A code: how many symbols have each length. */
struct code {
    uint16_t n_of_length[ENTRO_MAX_CODE_LENGTH + 1];
    int64_t size;
    int64_t time;
};

/* log2 of a positive number in 1/4096, by repeated squaring. */
static int64_t fixed_log2(uint64_t x)
{
    unsigned whole = 63u - (unsigned)__builtin_clzll(x);
    uint64_t mantissa = whole > 31 ? x >> (whole - 31) : x << (31 - whole); /* 1 to 2 with 31 bits */
    int64_t fraction = 0;
    for (unsigned i = 0; i < FRACTION_LOG2; i++) {
        mantissa = mantissa * mantissa >> 31;
        uint64_t bit = mantissa >> 32;
        mantissa >>= bit;
        fraction = 2 * fraction + (int64_t)bit;
    }
    return (int64_t)whole * BIT + fraction;
}

struct item {
    uint64_t count;
    uint8_t symbol;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return (x->symbol > y->symbol) - (x->symbol < y->symbol);
}

static void sort_and_scale(struct search *search, const uint64_t counts[ENTRO_N_SYMBOLS])
{
    struct item items[ENTRO_N_SYMBOLS];
    uint64_t total = 0;
    search->n = 0;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++) {
        if (counts[symbol] > 0)
            items[search->n++] = (struct item){.count = counts[symbol], .symbol = (uint8_t)symbol};
        total += counts[symbol];
    }
    qsort(items, search->n, sizeof items[0], compare_items);
    unsigned shift = 0;
    while (total >> shift >= (uint64_t)1 << 31)
        shift++;
    /* From the rarest up, so that the first symbol gets what rounding has lost. */
    search->before[search->n] = TOTAL;
    for (unsigned i = search->n; i-- > 0;) {
        search->symbols[i] = items[i].symbol;
        int64_t scaled = (int64_t)((items[i].count >> shift) * (uint64_t)TOTAL / (total >> shift));
        search->before[i] = i > 0 ? search->before[i + 1] - scaled : 0;
    }
}

static void prepare_bounds(struct search *search)
{
    search->entropy[search->n] = 0;
    search->log2_rest[search->n] = 0;
    for (unsigned i = search->n; i-- > 0;) {
        int64_t count = search->before[i + 1] - search->before[i], rest = TOTAL - search->before[i];
        search->entropy[i] = search->entropy[i + 1] - (count > 0 ? count * fixed_log2((uint64_t)count) : 0);
        search->log2_rest[i] = rest > 0 ? fixed_log2((uint64_t)rest) : 0;
    }
    for (unsigned i = 1; i <= ENTRO_N_SYMBOLS; i++)
        search->log2_of[i] = fixed_log2(i);
}

/*
 * Symbols from `first` on as leaves: 2^width of them for each bit of n_symbols. Of all symbols of one length,
 * the number says which are in which leaf, so all are taken for the same. A node is counted in proportion
 * where it occurs less than once a block. A constant saves time in the merge above it, half of whose symbols
 * it is.
 */
static struct share share_of(const struct search *search, unsigned first, unsigned n_symbols)
{
    struct share share = {0, 0};
    if (n_symbols == 0)
        return share;
    const int64_t once = search->once_a_block;
    int64_t each = (search->before[first + n_symbols] - search->before[first]) / (int64_t)n_symbols;
    for (unsigned width = 0; width <= 8; width++) {
        if ((n_symbols >> width & 1) == 0)
            continue;
        int64_t count = each << width;
        share.time += count * (unpack_cost[width] - (int64_t)width * MERGE_COST);
        if (width == 0)
            share.time -= 2 * count * (MERGE_COST - CONSTANT_MERGE_COST);
        int64_t nodes = (width > 0 ? 2 : 1) * (count < once ? count : once); /* leaf, and a merge above it */
        int64_t count_bytes = count < 128 * once ? 1 : count < 16384 * once ? 2 : 3;
        share.time += nodes * NODE_COST + once * COUNT_COST;
        share.size += nodes * (7 * BIT / 2) + once * count_bytes * (8 * BIT);
    }
    return share;
}

static void prepare_moves(struct search *search)
{
    search->n_moves = 0;
    for (unsigned n = 0; n <= search->n; n++) {
        unsigned n_leaves = (unsigned)__builtin_popcount(n);
        if (n_leaves > 3 || (n_leaves == 3 && n >= 32))
            continue;
        search->moves[search->n_moves++] = (uint16_t)n;
    }
}

/* A lower bound of the size of the symbols from `first` on if n_free nodes of this depth are theirs. */
static inline int64_t least_size(const struct search *search, unsigned depth, unsigned first, unsigned n_free)
{
    int64_t count = TOTAL - search->before[first], depth_bits = (int64_t)depth * BIT;
    int64_t least =
        count * (depth_bits - search->log2_of[n_free] + search->log2_rest[first]) + search->entropy[first];
    return least > count * depth_bits ? least : count * depth_bits;
}

/* What a state's code may come to cost: only for comparisons of states. The rest is taken to be in leaves of
 * width 3. */
static int64_t estimate(const struct search *search, const struct state *state, unsigned depth, int64_t price)
{
    int64_t rest = least_size(search, depth, state->n_placed, state->n_free) / BIT;
    return state->cost + rest * (price + MERGE_COST) -
           (TOTAL - search->before[state->n_placed]) * (3 * MERGE_COST);
}

/* The value that is at `place` once the values are sorted; moves them about. Source: Hoare's quickselect in
 * the form of N. Wirth, "Algorithms + Data Structures = Programs", 1976, 2.3. */
static int64_t select_value(int64_t *values, ptrdiff_t n_values, ptrdiff_t place)
{
    ptrdiff_t from = 0, to = n_values - 1;
    while (from < to) {
        int64_t pivot = values[place];
        ptrdiff_t i = from, j = to;
        do {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i <= j) {
                int64_t value = values[i];
                values[i++] = values[j];
                values[j--] = value;
            }
        } while (i <= j);
        if (j < place)
            from = i;
        if (place < i)
            to = j;
    }
    return values[place];
}

/* From search->next to the states of this length: the most promising ones, in order. */
static void keep_best(struct search *search, unsigned length, unsigned n_next, int64_t price)
{
    int64_t limit = INT64_MAX;
    if (n_next > search->max_states) {
        for (unsigned i = 0; i < n_next; i++)
            search->estimates[i] = estimate(search, &search->next[i], length, price);
        limit = select_value(search->estimates, n_next, search->max_states - 1);
    }
    unsigned n_kept = 0;
    for (unsigned i = 0; i < n_next; i++) {
        const struct state *state = &search->next[i];
        search->slots[state->n_placed][state->n_free] = 0;
        if (n_kept < search->max_states &&
            (limit == INT64_MAX || estimate(search, state, length, price) <= limit))
            search->states[length][n_kept++] = *state;
    }
    search->n_states[length] = n_kept;
}

/* The best way to end so far. */
struct ending {
    struct state state;
    unsigned length; /* the last one */
};

/* All ways on from a state, to search->next or an ending; returns n_next. */
static unsigned add_next(struct search *search, unsigned length, unsigned number, int64_t price,
                         unsigned n_next, struct ending *best)
{
    const struct state *state = &search->states[length][number];
    const unsigned first = state->n_placed, n_rest = search->n - first, n_free = state->n_free;
    for (unsigned move = 0; move < search->n_moves; move++) {
        /* Each node left needs a symbol, each symbol left needs room below a node. */
        unsigned n = search->moves[move];
        if (n > n_free || n > n_rest)
            break;
        if (2 * (n_free - n) > n_rest - n)
            continue;
        unsigned placed = first + n, n_free_below = 2 * (n_free - n);
        if (length == ENTRO_MAX_CODE_LENGTH
                ? n < n_rest
                : n_rest - n > n_free_below << (ENTRO_MAX_CODE_LENGTH - 1 - length))
            continue;
        struct share *share = &search->shares[first][move];
        if (share->size == 0)
            *share = share_of(search, first, n);
        int64_t bits = (search->before[placed] - search->before[first]) * length;
        struct state to = {.cost = state->cost + bits * (price + MERGE_COST) + share->time +
                                   share->size / BIT * price,
                           .size = state->size + bits * BIT + share->size,
                           .n_placed = (uint16_t)placed,
                           .n_free = (uint16_t)n_free_below,
                           .from = (uint16_t)number};
        if (n == n_rest) {
            if (to.size <= search->allowed_size && (best->length == 0 || to.cost < best->state.cost))
                *best = (struct ending){.state = to, .length = length};
            continue;
        }
        if (to.size + least_size(search, length + 1, placed, n_free_below) > search->allowed_size)
            continue;
        uint16_t *slot = &search->slots[placed][n_free_below];
        if (*slot == 0) {
            search->next[n_next++] = to;
            *slot = (uint16_t)n_next;
        } else if (to.cost < search->next[*slot - 1].cost) {
            search->next[*slot - 1] = to;
        }
    }
    return n_next;
}

static void set_size_and_time(const struct search *search, struct code *code)
{
    code->size = 0;
    code->time = 0;
    unsigned first = 0;
    for (unsigned length = 1; length <= ENTRO_MAX_CODE_LENGTH; length++) {
        unsigned n = code->n_of_length[length];
        int64_t bits = (search->before[first + n] - search->before[first]) * length;
        struct share share = share_of(search, first, n);
        code->size += bits * BIT + share.size;
        code->time += bits * MERGE_COST + share.time;
        first += n;
    }
}

static bool best_at_price(struct search *search, int64_t price, struct code *code)
{
    struct ending best = {.length = 0};
    search->n_states[1] = 1;
    search->states[1][0] = (struct state){.n_free = 2};
    for (unsigned length = 1; length <= ENTRO_MAX_CODE_LENGTH; length++) {
        unsigned n_next = 0;
        for (unsigned i = 0; i < search->n_states[length]; i++)
            n_next = add_next(search, length, i, price, n_next, &best);
        keep_best(search, length + 1, n_next, price);
    }
    if (best.length == 0)
        return false;
    memset(code, 0, sizeof *code);
    struct state state = best.state;
    for (unsigned length = best.length; length > 0; length--) {
        const struct state *from = &search->states[length][state.from];
        code->n_of_length[length] = (uint16_t)(state.n_placed - from->n_placed);
        state = *from;
    }
    set_size_and_time(search, code);
    return true;
}

static bool is_better(const struct code *a, const struct code *b)
{
    return a->time + a->size / BIT * FINAL_PRICE < b->time + b->size / BIT * FINAL_PRICE;
}

/* The optimal code, and the size that may be had for speed. */
static struct code prepare(struct search *search, const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                           const uint8_t optimal[ENTRO_N_SYMBOLS])
{
    uint64_t n_a_block = 0; /* symbols: at first, all; a plane may be less than a block */
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        n_a_block += counts[symbol];
    search->is_large = n_a_block >= LARGE;
    search->max_states = search->is_large ? MAX_STATES : SMALL_STATES;
    if (n_a_block > block_bytes)
        n_a_block = block_bytes;
    search->once_a_block = n_a_block > 0 && n_a_block < (uint64_t)TOTAL ? TOTAL / (int64_t)n_a_block : 1;
    sort_and_scale(search, counts);
    prepare_bounds(search);
    prepare_moves(search);

    struct code code = {.size = 0, .time = 0};
    for (unsigned i = 0; i < search->n; i++)
        code.n_of_length[optimal[search->symbols[i]]]++;
    set_size_and_time(search, &code);
    int64_t entropy = search->entropy[0] + TOTAL * search->log2_rest[0];
    bool is_far_above = code.size > entropy + entropy / 10000 * FAR_ABOVE_PARTS;
    search->allowed_size = code.size + code.size / 10000 * (is_far_above ? FEW_PARTS : MORE_PARTS);
    return code;
}

bool entro_joint_lengths(const uint64_t counts[ENTRO_N_SYMBOLS], size_t block_bytes,
                         uint8_t lengths[ENTRO_N_SYMBOLS])
{
    if (!entro_code_lengths(counts, ENTRO_MAX_CODE_LENGTH, lengths))
        return false;
    struct search *search = calloc(1, sizeof *search);
    if (search == NULL)
        return true;
    struct code best = prepare(search, counts, block_bytes, lengths), found;

    const size_t n_prices = search->is_large ? sizeof prices / sizeof prices[0] : 1;
    for (size_t i = 0; i < n_prices; i++) {
        if (best_at_price(search, prices[i], &found) && is_better(&found, &best))
            best = found;
    }

    unsigned i = 0;
    for (unsigned length = 1; length <= ENTRO_MAX_CODE_LENGTH; length++)
        for (unsigned n = best.n_of_length[length]; n > 0; n--)
            lengths[search->symbols[i++]] = (uint8_t)length;
    free(search);
    return true;
}
