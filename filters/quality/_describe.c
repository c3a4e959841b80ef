/* What the model reads of each token, and what is counted in each caption, in one walk. describe.py is the same in NumPy, and a test
   compares the two. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

/* As in tokens.py and describe.py. */
enum { SPACE, LOWER, UPPER, DIGIT, ALONE, MARK };
enum { CLASSES = 24, FUNCTION_CLASSES = 7, VERB = 18, PERSON = 14, CODES = 0x110000, BUCKETS = 4096 };
enum { CONTENT = 1 + CLASSES, MIXED = CONTENT + 16, WITH_DIGITS, LETTER, NUMBER, UNSPACED = NUMBER + 5, FIRST_MARK };
enum { COMMA, STOP, HYPHEN }; /* places among the marks */
enum { DIGITS_FORM, SMALL, CAPITALISED, ALL_CAPITALS, OTHER_FORM, NUMBER_FORM, ALONE_FORM, FIRST_MARK_FORM };
enum {
    WORDS, FUNCTIONS, SMALL_FUNCTIONS, VERBS, PERSONS, STOP_AT_END, SMALL_AT_FIRST, KNOWN, UNKNOWN_WORDS, RARE_WORDS, LETTERS,
    UNSPACED_TOKENS, INNER, INNER_CAPITALISED, CAPITALS, WITH_DIGIT, MARKS, GLUED, AFTER_SPACE, SPELLED, REPEATED, HYPHENS, COMMAS,
    COUNTS
};

typedef struct {
    const uint8_t *narrow; /* characters, of one byte each, */
    const uint32_t *wide;  /* or of four; the other is NULL */
    const int64_t *first, *start, *length;
    const uint8_t *kind, *after_space;
    const uint64_t *keys;
    const int32_t *capitals, *digits, *words;
    const uint8_t *classes, *marks;
    const float *frequency;
    int32_t unknown;
    uint8_t *structures, *forms;
    int32_t *buckets, *counts;
    double *totals;
} Captions;

static inline uint32_t code_at(const Captions *of, int64_t place) { return of->narrow ? of->narrow[place] : of->wide[place]; }

/* 1 for -ing, 2 for -ed, 3 for -s, of words longer than these. */
static inline int ending_of(const Captions *of, int64_t token) {
    int64_t length = of->length[token], end = of->start[token] + length;
    if (length <= 3) return 0;
    uint32_t last = code_at(of, end - 1), before = code_at(of, end - 2);
    if (last == 's') return 3;
    if (last == 'd') return before == 'e' ? 2 : 0;
    return length > 4 && last == 'g' && before == 'n' && code_at(of, end - 3) == 'i';
}

static inline int number_of(const Captions *of, int64_t token, uint32_t opening) {
    int64_t length = of->length[token], digits = of->digits[token];
    if (length == 4 && digits == 4 && (opening == '1' || opening == '2')) return 0;
    return digits < length ? 1 : length <= 2 ? 2 : length <= 4 ? 3 : 4;
}

static inline int structure_of_word(const Captions *of, int64_t token, float frequency) {
    int64_t length = of->length[token];
    int32_t capitals = of->capitals[token];
    int small = !capitals, class = of->classes[of->words[token]];
    if (class && (length > 1 || small)) return class;
    if (length == 1) return LETTER;
    if (of->digits[token]) return WITH_DIGITS;
    int single = capitals <= 1 && (small || of->kind[token] == UPPER);
    if (capitals && !single && capitals < length) return MIXED;
    int band = frequency >= 4.3f ? 0 : frequency >= 3.4f ? 1 : frequency > 0.0f ? 2 : 3;
    return CONTENT + 4 * band + (single ? ending_of(of, token) : 0);
}

static inline int form_of_word(const Captions *of, int64_t token) {
    int32_t capitals = of->capitals[token];
    if (of->digits[token]) return DIGITS_FORM;
    if (!capitals) return SMALL;
    if (capitals == 1 && of->kind[token] == UPPER) return CAPITALISED;
    return capitals >= 2 && capitals == of->length[token] ? ALL_CAPITALS : OTHER_FORM;
}

static void count_word(const Captions *of, int64_t token, int structure, int form, float frequency, int opens, int32_t *counts) {
    int known = of->words[token] < of->unknown, function = structure > 0 && structure <= FUNCTION_CLASSES;
    counts[WORDS]++;
    counts[FUNCTIONS] += function;
    counts[SMALL_FUNCTIONS] += function && !of->capitals[token];
    counts[VERBS] += structure == VERB;
    counts[PERSONS] += structure == PERSON;
    counts[UNKNOWN_WORDS] += !known;
    counts[RARE_WORDS] += frequency < 3.0f;
    counts[LETTERS] += (int32_t)of->length[token];
    counts[INNER] += !opens;
    counts[INNER_CAPITALISED] += !opens && (form == CAPITALISED || form == ALL_CAPITALS);
    counts[CAPITALS] += form == ALL_CAPITALS;
}

static void count_mark(const Captions *of, int64_t token, int mark, int opens, int32_t *counts) {
    int glued = !of->after_space[token] && !opens;
    counts[MARKS]++;
    counts[GLUED] += glued;
    counts[HYPHENS] += glued && mark == HYPHEN;
    counts[COMMAS] += mark == COMMA;
}

static void describe_token(const Captions *of, int64_t token, int opens, int32_t *counts, double *total) {
    uint32_t opening = code_at(of, of->start[token]);
    int kind = of->kind[token], is_word = kind <= UPPER, mark = of->marks[opening], structure, form;
    float frequency = of->frequency[of->words[token]];
    if (is_word) {
        structure = structure_of_word(of, token, frequency);
        form = form_of_word(of, token);
        count_word(of, token, structure, form, frequency, opens, counts);
        if (of->words[token] < of->unknown) *total += (double)frequency;
    } else {
        structure = kind == DIGIT ? NUMBER + number_of(of, token, opening) : kind == MARK ? FIRST_MARK + mark : UNSPACED;
        form = kind == DIGIT ? NUMBER_FORM : kind == MARK ? FIRST_MARK_FORM + mark : ALONE_FORM;
        if (kind == MARK) count_mark(of, token, mark, opens, counts);
    }
    counts[KNOWN] += of->words[token] < of->unknown;
    counts[UNSPACED_TOKENS] += kind == ALONE;
    counts[WITH_DIGIT] += of->digits[token] > 0;
    counts[AFTER_SPACE] += of->after_space[token];
    of->structures[token] = (uint8_t)structure;
    of->forms[token] = (uint8_t)(1 + 4 * form + 2 * of->after_space[token] + opens);
    of->buckets[token] = kind == ALONE ? (int32_t)((of->keys[token] >> 20) % (BUCKETS - 1) + 1) : 0;
}

static int in_order(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Counts words and single characters, and those that repeat an earlier one; `keys` has room for a key of each token. */
static void count_repetitions(const Captions *of, int64_t first, int64_t end, uint64_t *keys, int32_t *counts) {
    size_t spelled = 0;
    for (int64_t token = first; token < end; token++)
        if (of->kind[token] <= UPPER || of->kind[token] == ALONE) keys[spelled++] = of->keys[token] & ((UINT64_C(1) << 40) - 1);
    counts[SPELLED] = (int32_t)spelled;
    if (spelled <= 32) { /* most captions */
        for (size_t i = 1; i < spelled; i++)
            for (size_t j = 0; j < i; j++)
                if (keys[i] == keys[j]) {
                    counts[REPEATED]++;
                    break;
                }
        return;
    }
    qsort(keys, spelled, sizeof *keys, in_order);
    for (size_t i = 1; i < spelled; i++) counts[REPEATED] += keys[i] == keys[i - 1];
}

static void describe_all(const Captions *of, int64_t captions, uint64_t *keys) {
    for (int64_t row = 0; row < captions; row++) {
        int64_t first = of->first[row], end = of->first[row + 1];
        int32_t *counts = of->counts + row * COUNTS;
        for (int i = 0; i < COUNTS; i++) counts[i] = 0;
        of->totals[row] = 0;
        if (first == end) continue;
        for (int64_t token = first; token < end; token++) describe_token(of, token, token == first, counts, of->totals + row);
        count_repetitions(of, first, end, keys, counts);
        counts[STOP_AT_END] = of->structures[end - 1] == FIRST_MARK + STOP;
        counts[SMALL_AT_FIRST] = !of->capitals[first];
    }
}

static int tokens_fit(const Captions *of, int64_t captions, int64_t tokens, int64_t characters, int64_t words) {
    if (captions < 0 || of->first[0] != 0 || of->first[captions] != tokens) return 0;
    for (int64_t row = 0; row < captions; row++)
        if (of->first[row] > of->first[row + 1]) return 0;
    for (int64_t token = 0; token < tokens; token++) {
        if (of->words[token] < 0 || of->words[token] >= words || of->length[token] < 1 || of->start[token] < 0) return 0;
        if (of->start[token] > characters - of->length[token] || code_at(of, of->start[token]) >= CODES) return 0;
    }
    return 1;
}

/* describe(codes, width, first, start, length, kind, keys, capitals, digits, after_space, words, classes, frequency, marks,
   structures uint8[T], forms uint8[T], buckets int32[T], counts int32[N, COUNTS], totals float64[N]): the last five are written. */
static PyObject *describe(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer in[13], out[5];
    int width;
    if (!PyArg_ParseTuple(args, "y*iy*y*y*y*y*y*y*y*y*y*y*y*w*w*w*w*w*", &in[0], &width, &in[1], &in[2], &in[3], &in[4], &in[5], &in[6],
                          &in[7], &in[8], &in[9], &in[10], &in[11], &in[12], &out[0], &out[1], &out[2], &out[3], &out[4]))
        return NULL;
    static const Py_ssize_t sizes[8] = {8, 8, 1, 8, 4, 4, 1, 4}; /* of start … words */
    int64_t captions = in[1].len / 8 - 1, tokens = in[4].len, words = in[10].len;
    Captions of = {width == 1 ? in[0].buf : NULL, width == 4 ? in[0].buf : NULL, in[1].buf, in[2].buf, in[3].buf, in[4].buf,
                   in[8].buf, in[5].buf, in[6].buf, in[7].buf, in[9].buf, in[10].buf, in[12].buf, in[11].buf,
                   (int32_t)(words - 1), out[0].buf, out[1].buf, out[2].buf, out[3].buf, out[4].buf};
    int fits = (width == 1 || width == 4) && in[11].len == 4 * words && in[12].len == CODES && out[0].len == tokens;
    for (int place = 0; place < 8; place++) fits = fits && in[2 + place].len == sizes[place] * tokens;
    fits = fits && out[1].len == tokens && out[2].len == 4 * tokens && out[3].len == 4 * COUNTS * captions && out[4].len == 8 * captions;
    fits = fits && tokens_fit(&of, captions, tokens, in[0].len / (width == 4 ? 4 : 1), words);
    uint64_t *keys = fits ? malloc(sizeof *keys * (size_t)(tokens + 1)) : NULL;
    if (keys) {
        Py_BEGIN_ALLOW_THREADS
        describe_all(&of, captions, keys);
        Py_END_ALLOW_THREADS
        free(keys);
    }
    for (int place = 0; place < 13; place++) PyBuffer_Release(&in[place]);
    for (int place = 0; place < 5; place++) PyBuffer_Release(&out[place]);
    if (keys) Py_RETURN_NONE;
    if (fits) return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, "arrays of other shapes than the tokens and captions need, or places that no array has");
    return NULL;
}

static PyMethodDef methods[] = {{"describe", describe, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pairmill_describe", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pairmill_describe(void) { return PyModuleDef_Init(&module); }
