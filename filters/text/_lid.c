/* The probabilities that fastText's lid.176 gives languages. language_model.py reads its file into the arrays that this walks along.

   A text is the mean of the vectors of its words, the frequent ones, and of all their substrings of two to four characters, found by
   their hash in a table. Languages are the leaves of a Huffman tree in which each inner node has a vector of its own: its product
   with the text's says how likely the right branch is. The sums are made in the order in which fastText makes them (its
   dictionary.cc, productquantizer.cc and loss.cc; Joulin et al. 2016), so that they round alike. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { WIDTH = 16, MOST_ANSWERS = 8, SHORTEST = 2, LONGEST = 4, MOST_DEPTH = 512 };
#define HASH_BASIS UINT32_C(2166136261)
#define HASH_PRIME UINT32_C(16777619)
static const char END_OF_LINE[] = "</s>", LABEL[] = "__label__";

typedef struct {
    const float *rows;       /* [R, WIDTH]: of the words, then of the substrings */
    const uint64_t *has_row; /* [(B + 63) / 64]: a bit for each hash of a substring below B, most of them 0 */
    const int32_t *before;   /* [(B + 63) / 64]: how many bits are 1 before each 64 */
    const uint16_t *substring_rows; /* the row of the first bit that is 1, of the second, ... */
    const char *spelling;    /* of all words, one behind the other */
    const int32_t *edges;    /* [W + 1]: where each begins there */
    const int32_t *slots;    /* [S]: places of words by their hash, -1 for none; S is a power of two */
    const int32_t *left, *right; /* [2 L - 1]: branches of a node, -1 of a leaf */
    const float *nodes;      /* [L - 1, WIDTH]: the vectors of inner nodes */
    int64_t words, buckets, slot_count, labels; /* W, B, S, L */
} Model;

typedef struct {
    float sum[WIDTH];
    int64_t count;
} Text;

typedef struct {
    float score[MOST_ANSWERS];
    int32_t label[MOST_ANSWERS];
    int count, most;
    float least; /* log of the least probability */
} Answers;

static inline uint32_t hash_more(uint32_t hash, char letter) { return (hash ^ (uint32_t)(int8_t)letter) * HASH_PRIME; }

static inline int is_continued(char letter) { return (letter & 0xC0) == 0x80; }

static inline void add(Text *text, const float *row) {
    for (int i = 0; i < WIDTH; i++) text->sum[i] += row[i];
    text->count++;
}

static inline int bits_of(uint64_t bits) {
    bits -= bits >> 1 & UINT64_C(0x5555555555555555);
    bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
    return (int)(((bits + (bits >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F)) * UINT64_C(0x0101010101010101) >> 56);
}

/* The row of a substring by its hash below B, NULL for most. */
static inline const float *row_of(const Model *model, uint32_t bucket) {
    uint64_t bits = model->has_row[bucket >> 6], bit = UINT64_C(1) << (bucket & 63);
    if (!(bits & bit)) return NULL;
    return model->rows + (int64_t)model->substring_rows[model->before[bucket >> 6] + bits_of(bits & (bit - 1))] * WIDTH;
}

/* Adds the substrings of a word, given with a mark before and behind it. */
static void add_substrings(const Model *model, const char *word, int64_t length, Text *text) {
    for (int64_t start = 0; start < length; start++) {
        if (is_continued(word[start])) continue;
        uint32_t hash = HASH_BASIS;
        int64_t end = start;
        for (int size = 1; end < length && size <= LONGEST; size++) {
            do hash = hash_more(hash, word[end++]);
            while (end < length && is_continued(word[end]));
            if (size < SHORTEST) continue;
            const float *row = row_of(model, hash % (uint32_t)model->buckets);
            if (row) add(text, row);
        }
    }
}

/* The place of a word among those that are known, -1 for none. */
static int32_t place_of(const Model *model, const char *word, int64_t length) {
    uint32_t hash = HASH_BASIS;
    for (int64_t i = 0; i < length; i++) hash = hash_more(hash, word[i]);
    for (int64_t slot = hash & (model->slot_count - 1);; slot = (slot + 1) & (model->slot_count - 1)) {
        int32_t place = model->slots[slot];
        if (place < 0) return -1;
        if (model->edges[place + 1] - model->edges[place] == length && !memcmp(model->spelling + model->edges[place], word, (size_t)length))
            return place;
    }
}

/* Bytes of the space at `at`, as Python's str.split and fastText know it; 0 where there is none. */
static int space_at(const char *text, int64_t at, int64_t end) {
    unsigned char first = (unsigned char)text[at];
    if (first == ' ' || (first >= '\t' && first <= '\r') || first == 0 || (first >= 0x1C && first <= 0x1F)) return 1;
    if (first < 0xC2 || first > 0xE3 || at + 1 >= end) return 0;
    unsigned char second = (unsigned char)text[at + 1], third = at + 2 < end ? (unsigned char)text[at + 2] : 0;
    if (first == 0xC2) return second == 0x85 || second == 0xA0 ? 2 : 0;
    if (first == 0xE1) return second == 0x9A && third == 0x80 ? 3 : 0;
    if (first == 0xE2 && second == 0x80) return (third >= 0x80 && third <= 0x8A) || third == 0xA8 || third == 0xA9 || third == 0xAF ? 3 : 0;
    if (first == 0xE2) return second == 0x81 && third == 0x9F ? 3 : 0;
    return first == 0xE3 && second == 0x80 && third == 0x80 ? 3 : 0;
}

/* Adds a word, as `<word>`; whether the line goes on behind it. The `<` stands in `marked`, which has room for the word and two marks. */
static int add_word(const Model *model, const char *word, int64_t length, char *marked, Text *text) {
    if (length >= (int64_t)sizeof LABEL - 1 && !memcmp(word, LABEL, sizeof LABEL - 1)) return 1;
    int ends = length == (int64_t)sizeof END_OF_LINE - 1 && !memcmp(word, END_OF_LINE, sizeof END_OF_LINE - 1);
    int32_t place = place_of(model, word, length);
    if (place >= 0) add(text, model->rows + (int64_t)place * WIDTH);
    if (ends) return 0;
    marked[0] = '<';
    memcpy(marked + 1, word, (size_t)length);
    marked[length + 1] = '>';
    add_substrings(model, marked, length + 2, text);
    return 1;
}

static void read_text(const Model *model, const char *text, int64_t first, int64_t end, char *marked, Text *result) {
    memset(result, 0, sizeof *result);
    for (int64_t at = first; at < end;) {
        int space = space_at(text, at, end);
        if (space) {
            at += space;
            continue;
        }
        int64_t start = at;
        while (at < end && !space_at(text, at, end)) at++;
        if (!add_word(model, text + start, at - start, marked, result)) return;
    }
    add_word(model, END_OF_LINE, sizeof END_OF_LINE - 1, marked, result);
}

static inline float log_of(float probability) { return (float)log((double)probability + 1e-5); }

/* Keeps an answer among the best, best first. */
static void keep(Answers *answers, float score, int32_t label) {
    int place = answers->count < answers->most ? answers->count++ : answers->most - 1;
    for (; place > 0 && answers->score[place - 1] < score; place--) {
        answers->score[place] = answers->score[place - 1];
        answers->label[place] = answers->label[place - 1];
    }
    answers->score[place] = score;
    answers->label[place] = label;
}

/* Goes down the tree, left before right, where the answer may still be among the best. */
static void descend(const Model *model, const float *mean, Answers *answers) {
    int32_t stack[MOST_DEPTH];
    float scores[MOST_DEPTH];
    int depth = 0;
    stack[depth] = (int32_t)(2 * model->labels - 2);
    scores[depth++] = 0.0f;
    while (depth) {
        int32_t node = stack[--depth];
        float score = scores[depth];
        if (score < answers->least) continue;
        if (answers->count == answers->most && score < answers->score[answers->most - 1]) continue;
        if (model->left[node] < 0) {
            keep(answers, score, node);
            continue;
        }
        const float *vector = model->nodes + (node - model->labels) * WIDTH;
        float product = 0.0f;
        for (int i = 0; i < WIDTH; i++) product += vector[i] * mean[i];
        float share = (float)(1.0 / (double)(1 + expf(-product)));
        stack[depth] = model->right[node];
        scores[depth++] = score + log_of(share);
        stack[depth] = model->left[node];
        scores[depth++] = score + log_of((float)(1.0 - (double)share));
    }
}

static int tree_fits(const Model *model) {
    for (int64_t node = 0; node < 2 * model->labels - 1; node++) {
        int32_t left = model->left[node], right = model->right[node];
        if (node < model->labels ? left != -1 : left < 0 || left >= node || right < 0 || right >= node) return 0;
    }
    return model->labels > 0 && 2 * model->labels < MOST_DEPTH;
}

static int words_fit(const Model *model, int64_t bytes) {
    int64_t empty = 0;
    for (int64_t i = 0; i < model->slot_count; i++) {
        if (model->slots[i] >= model->words) return 0;
        empty += model->slots[i] < 0;
    }
    for (int64_t i = 0; i < model->words; i++)
        if (model->edges[i] < 0 || model->edges[i] > model->edges[i + 1]) return 0;
    return empty && model->words >= 0 && model->edges[model->words] <= bytes && !(model->slot_count & (model->slot_count - 1));
}

/* Whether the rows of substrings lie among `rows`, and there is one for each bit. */
static int substrings_fit(const Model *model, int64_t blocks, int64_t substrings, int64_t rows) {
    int64_t count = 0;
    if (model->buckets <= 0 || model->buckets > UINT32_MAX || blocks != (model->buckets + 63) / 64) return 0;
    for (int64_t block = 0; block < blocks; block++) {
        if (model->before[block] != count) return 0;
        count += bits_of(model->has_row[block]);
    }
    for (int64_t i = 0; i < substrings; i++)
        if (model->substring_rows[i] >= rows) return 0;
    return count == substrings;
}

/* predict(text, ends int32[N + 1], B, model's ten arrays, least probability, labels int32[N, K], probabilities float32[N, K]): the
   last two are written, best first, -1 behind the last answer. */
static PyObject *predict(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer in[12], out[2];
    long long buckets;
    float least;
    if (!PyArg_ParseTuple(args, "y*y*Ly*y*y*y*y*y*y*y*y*y*fw*w*", &in[0], &in[1], &buckets, &in[2], &in[3], &in[4], &in[5], &in[6],
                          &in[7], &in[8], &in[9], &in[10], &in[11], &least, &out[0], &out[1]))
        return NULL;
    const char *text = in[0].buf;
    const int32_t *ends = in[1].buf;
    int64_t count = in[1].len / 4 - 1, rows = in[2].len / (4 * WIDTH), longest = 0;
    Model model = {in[2].buf, in[3].buf, in[4].buf, in[5].buf, in[6].buf, in[7].buf, in[8].buf, in[9].buf, in[10].buf, in[11].buf,
                   in[7].len / 4 - 1, buckets, in[8].len / 4, (in[9].len / 4 + 1) / 2};
    int fits = count >= 0 && in[10].len == in[9].len && in[11].len == 4 * WIDTH * (model.labels - 1) && 2 * in[4].len == in[3].len;
    fits = fits && tree_fits(&model) && words_fit(&model, in[6].len) && model.words <= rows;
    fits = fits && substrings_fit(&model, in[3].len / 8, in[5].len / 2, rows);
    for (int64_t row = 0; fits && row < count; row++) {
        fits = ends[row] >= 0 && ends[row] <= ends[row + 1] && ends[row + 1] <= in[0].len;
        if (ends[row + 1] - ends[row] > longest) longest = ends[row + 1] - ends[row];
    }
    int most = count > 0 ? (int)(out[0].len / (4 * count)) : 1;
    fits = fits && most > 0 && most <= MOST_ANSWERS && out[0].len == 4 * count * most && out[1].len == out[0].len;
    if (longest < (int64_t)sizeof END_OF_LINE) longest = sizeof END_OF_LINE;
    char *marked = fits ? malloc((size_t)longest + 2) : NULL;
    if (marked) {
        Py_BEGIN_ALLOW_THREADS
        for (int64_t row = 0; row < count; row++) {
            Text read;
            Answers answers = {{0}, {0}, 0, most, log_of(least)};
            read_text(&model, text, ends[row], ends[row + 1], marked, &read);
            float share = (float)(1.0 / (double)(float)read.count);
            for (int i = 0; i < WIDTH; i++) read.sum[i] *= share;
            descend(&model, read.sum, &answers);
            for (int i = 0; i < most; i++) {
                ((int32_t *)out[0].buf)[row * most + i] = i < answers.count ? answers.label[i] : -1;
                ((float *)out[1].buf)[row * most + i] = i < answers.count ? expf(answers.score[i]) : 0.0f;
            }
        }
        Py_END_ALLOW_THREADS
        free(marked);
    }
    for (int place = 0; place < 12; place++) PyBuffer_Release(&in[place]);
    for (int place = 0; place < 2; place++) PyBuffer_Release(&out[place]);
    if (marked) Py_RETURN_NONE;
    if (fits) return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, "arrays of other shapes than the texts and the model need, or places that no array has");
    return NULL;
}

static PyMethodDef methods[] = {{"predict", predict, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_lid", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_lid(void) { return PyModuleDef_Init(&module); }
