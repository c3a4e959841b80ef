/* Hashes within a Hamming distance, through tables by substring. hamming.py is the same in NumPy, and a test compares the two.

   The time goes into waiting for memory: each key of a table, each list of rows and each hash lies somewhere else. So the places
   that will be read are prefetched, a block of keys and then a block of rows at a time, and waited for together. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define WITH_POPCNT __attribute__((target_clones("avx2", "default")))
#else
#define WITH_POPCNT
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH(place) __builtin_prefetch(place)
#define ONES(word) __builtin_popcountll(word)
#else
#define INLINE static inline
#define PREFETCH(place) (void)(place)
static inline int ONES(uint64_t word) {
    int ones = 0;
    for (; word; word &= word - 1) ones++;
    return ones;
}
#endif

enum { MOST_TABLES = 32, KEYS = 64, ROWS = 256 };

typedef struct {
    const uint64_t *hashes; /* [count, words] */
    const uint32_t *starts; /* [tables, 2^key_bits + 1]: where the rows of each key begin */
    const uint32_t *rows;   /* [tables, count]: by key, then by row */
    Py_ssize_t count, tables;
    int words, key_bits;
    const uint32_t *masks;             /* all masks of key_bits bits, by number of ones */
    const Py_ssize_t *mask_counts;     /* [tables]: how many of them are tried */
    int radii[MOST_TABLES], radius;    /* ones of the last mask that is tried in each table, -1 for none; of the whole hash */
} Index;

typedef struct {
    int64_t *rows;
    int32_t *distances;
    Py_ssize_t count, room;
} Matches;

/* Where the key of a table begins in a hash. */
INLINE int first_bit(const Index *index, Py_ssize_t table) { return (int)(table * 64 * index->words / index->tables); }

INLINE uint32_t key_of(const uint64_t *hash, int first, int bits) {
    int word = first / 64, shift = first % 64;
    uint64_t key = hash[word] >> shift;
    if (shift + bits > 64) key |= hash[word + 1] << (64 - shift);
    return (uint32_t)(key & ((1ull << bits) - 1));
}

/* Whether an earlier table has given the same row. */
INLINE int is_repeated(const Index *index, Py_ssize_t table, const uint64_t *query, const uint64_t *hash) {
    for (Py_ssize_t earlier = 0; earlier < table; earlier++) {
        int first = first_bit(index, earlier);
        uint32_t other = key_of(query, first, index->key_bits) ^ key_of(hash, first, index->key_bits);
        if (ONES(other) <= index->radii[earlier]) return 1;
    }
    return 0;
}

INLINE void verify(
    const Index *index, Py_ssize_t table, const uint64_t *query, const uint32_t *rows, int count, int words, Matches *matches) {
    for (int i = 0; i < count; i++) {
        const uint64_t *hash = index->hashes + (size_t)rows[i] * words;
        int distance = 0;
        for (int word = 0; word < words; word++) distance += ONES(hash[word] ^ query[word]);
        if (distance > index->radius || is_repeated(index, table, query, hash)) continue;
        if (matches->count < matches->room) {
            matches->rows[matches->count] = rows[i];
            matches->distances[matches->count] = distance;
        }
        matches->count++;
    }
}

INLINE void search_table(const Index *index, Py_ssize_t table, const uint64_t *query, int words, Matches *matches) {
    const uint32_t *starts = index->starts + table * (((Py_ssize_t)1 << index->key_bits) + 1);
    const uint32_t *rows = index->rows + table * index->count;
    uint32_t key = key_of(query, first_bit(index, table), index->key_bits), from[KEYS], to[KEYS], waiting[ROWS];
    uint32_t count = (uint32_t)index->count; /* tables come from a file, so what they hold is not trusted */
    int held = 0;
    for (Py_ssize_t mask = 0; mask < index->mask_counts[table]; mask += KEYS) {
        int keys = index->mask_counts[table] - mask < KEYS ? (int)(index->mask_counts[table] - mask) : KEYS;
        for (int i = 0; i < keys; i++) PREFETCH(starts + (key ^ index->masks[mask + i]));
        for (int i = 0; i < keys; i++) {
            const uint32_t *start = starts + (key ^ index->masks[mask + i]);
            from[i] = start[0];
            to[i] = start[1] < count ? start[1] : count;
            if (from[i] < to[i]) PREFETCH(rows + from[i]);
        }
        for (int i = 0; i < keys; i++)
            for (uint32_t place = from[i]; place < to[i]; place++) {
                if (rows[place] >= count) continue;
                PREFETCH(index->hashes + (size_t)rows[place] * words);
                waiting[held++] = rows[place];
                if (held < ROWS) continue;
                verify(index, table, query, waiting, held, words, matches);
                held = 0;
            }
    }
    verify(index, table, query, waiting, held, words, matches);
}

/* Searches queries from `first` on; returns the first whose matches have no room, or `queries`. `ends` are their matches so far. */
WITH_POPCNT static Py_ssize_t search_all(
    const Index *index, const uint64_t *queries, Py_ssize_t count, Py_ssize_t first, int64_t *ends, Matches *matches) {
    for (Py_ssize_t at = first; at < count; at++) {
        Py_ssize_t before = matches->count;
        for (Py_ssize_t table = 0; table < index->tables; table++) {
            if (index->words == 1) search_table(index, table, queries + at, 1, matches);
            else if (index->words == 4) search_table(index, table, queries + 4 * at, 4, matches);
            else search_table(index, table, queries + index->words * at, index->words, matches);
        }
        if (matches->count > matches->room) {
            matches->count = before;
            return at;
        }
        ends[at] = matches->count;
    }
    return count;
}

/* search(hashes, words, starts, rows, tables, key_bits, masks, mask_counts, radii, radius, queries, first, ends, rows, distances)
   → (the next query, matches). */
static PyObject *search(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer in[7], out[3];
    Py_ssize_t tables, first, next = -1;
    int words, key_bits, radius;
    if (!PyArg_ParseTuple(args, "y*iy*y*niy*y*y*iy*nw*w*w*", &in[0], &words, &in[1], &in[2], &tables, &key_bits, &in[3], &in[4],
                          &in[5], &radius, &in[6], &first, &out[0], &out[1], &out[2]))
        return NULL;
    Matches matches = {out[1].buf, out[2].buf, 0, out[1].len / 8};
    Index index = {in[0].buf, in[1].buf, in[2].buf, 0, tables, words, key_bits, in[3].buf, in[4].buf, {0}, radius};
    int fits = words > 0 && tables > 0 && tables <= MOST_TABLES && key_bits > 0 && key_bits <= 31 &&
               key_bits <= 64 * words / tables;
    if (fits) {
        Py_ssize_t keys = (Py_ssize_t)1 << key_bits, queries = in[6].len / (8 * words);
        index.count = in[0].len / (8 * words);
        fits = index.count < UINT32_MAX && in[1].len == 4 * tables * (keys + 1) && in[2].len == 4 * tables * index.count && in[4].len == 8 * tables &&
               in[5].len == 4 * tables && first >= 0 && out[0].len == 8 * queries && out[2].len >= 4 * matches.room;
        for (Py_ssize_t table = 0; fits && table < tables; table++) {
            index.radii[table] = ((const int32_t *)in[5].buf)[table];
            fits = index.mask_counts[table] >= 0 && index.mask_counts[table] <= in[3].len / 4;
        }
        if (fits) {
            Py_BEGIN_ALLOW_THREADS
            next = search_all(&index, in[6].buf, queries, first, out[0].buf, &matches);
            Py_END_ALLOW_THREADS
        }
    }
    for (int place = 0; place < 7; place++) PyBuffer_Release(&in[place]);
    for (int place = 0; place < 3; place++) PyBuffer_Release(&out[place]);
    if (fits) return Py_BuildValue("nn", next, matches.count);
    PyErr_SetString(PyExc_ValueError, "arrays of other shapes than the hashes and tables need");
    return NULL;
}

static PyMethodDef methods[] = {{"search", search, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_hamming", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_hamming(void) { return PyModuleDef_Init(&module); }
