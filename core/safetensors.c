/* Reading: the header is parsed and checked as a whole, tensors are sorted by their place, and neighbours
 * must touch: that finds holes, overlaps and bytes that belong to nobody in one pass. */
#include "core/safetensors.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HEADER_BYTES 100000000 /* of the format's own reader */
#define LENGTH_BYTES     8
#define ALIGN_BYTES      8 /* data begin at a multiple of it; writers pad the header with blanks */

struct nt_safetensors {
    char *path;
    int fd;
    int64_t data_offset, data_bytes;
    int n;
    nt_safetensor *tensor;
};

static float from_f64(const unsigned char *bytes), from_f32(const unsigned char *bytes),
    from_f16(const unsigned char *bytes), from_bf16(const unsigned char *bytes);

static const struct dtype {
    const char *name;
    int bytes;
    float (*to_float)(const unsigned char *bytes); /* NULL: not of a float type */
} dtypes[] = {{"F64", 8, from_f64}, {"F32", 4, from_f32}, {"F16", 2, from_f16}, {"BF16", 2, from_bf16},
              {"I64", 8, NULL},     {"I32", 4, NULL},     {"I16", 2, NULL},     {"I8", 1, NULL},
              {"U64", 8, NULL},     {"U32", 4, NULL},     {"U16", 2, NULL},     {"U8", 1, NULL},
              {"BOOL", 1, NULL},    {"F8_E4M3", 1, NULL}, {"F8_E5M2", 1, NULL}, {NULL, 0, NULL}};

static const struct dtype *find_dtype(const char *name)
{
    for (const struct dtype *d = dtypes; d->name; d++)
        if (strcmp(d->name, name) == 0) return d;
    return NULL;
}

/* --- bytes --- */

/* All of n_bytes at `offset`. */
static nt_status read_at(const nt_safetensors *file, void *out, size_t n_bytes, int64_t offset)
{
    char *at = out;
    while (n_bytes > 0) {
        ssize_t n = pread(file->fd, at, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        NT_CHECK(n >= 0, NT_ERR_IO, "cannot read '%s': %s", file->path, strerror(errno));
        NT_CHECK(n > 0, NT_ERR_DATA, "'%s' ends in the middle of its data", file->path);
        at += n;
        offset += n;
        n_bytes -= (size_t)n;
    }
    return NT_OK;
}

static uint64_t little_endian(const unsigned char *bytes, int n)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

/* --- the header --- */

/* A JSON integer in [0, INT64_MAX]; -1 for anything else. */
static int64_t count_of(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 ? (int64_t)json_integer_value(value) : -1;
}

static nt_status take_shape(const nt_safetensors *file, nt_safetensor *t, const json_t *dims)
{
    NT_CHECK(json_is_array(dims), NT_ERR_DATA, "'%s': tensor '%s' has no shape", file->path, t->name);
    size_t n = json_array_size(dims);
    NT_CHECK(n <= NT_MAX_DIMS, NT_ERR_DATA,
             "'%s': tensor '%s' has %zu dimensions, at most %d are possible here", file->path, t->name, n,
             NT_MAX_DIMS);
    t->shape.n_dims = (int)n;
    t->n_elems = 1;
    for (size_t i = 0; i < n; i++) {
        int64_t dim = count_of(json_array_get(dims, i));
        NT_CHECK(dim >= 0, NT_ERR_DATA, "'%s': tensor '%s': dimension %zu is not a count", file->path,
                 t->name, i);
        NT_CHECK(!__builtin_mul_overflow(t->n_elems, dim, &t->n_elems), NT_ERR_DATA,
                 "'%s': tensor '%s' has more elements than can be counted", file->path, t->name);
        t->shape.dim[i] = dim;
    }
    return NT_OK;
}

static nt_status take_place(const nt_safetensors *file, nt_safetensor *t, const json_t *offsets,
                            int elem_bytes)
{
    int64_t n_bytes = 0;
    bool pair = json_is_array(offsets) && json_array_size(offsets) == 2;
    t->begin = pair ? count_of(json_array_get(offsets, 0)) : -1;
    t->end = pair ? count_of(json_array_get(offsets, 1)) : -1;
    NT_CHECK(t->begin >= 0 && t->end >= t->begin, NT_ERR_DATA, "'%s': tensor '%s' has no valid data_offsets",
             file->path, t->name);
    NT_CHECK(!__builtin_mul_overflow(t->n_elems, (int64_t)elem_bytes, &n_bytes) &&
                 n_bytes == t->end - t->begin,
             NT_ERR_DATA, "'%s': tensor '%s' of %lld elements of type %s occupies %lld bytes", file->path,
             t->name, (long long)t->n_elems, t->dtype, (long long)(t->end - t->begin));
    NT_CHECK(t->end <= file->data_bytes, NT_ERR_DATA,
             "'%s': tensor '%s' ends at byte %lld, but there are %lld; is the file cut off?", file->path,
             t->name, (long long)t->end, (long long)file->data_bytes);
    return NT_OK;
}

static nt_status take_tensor(nt_safetensors *file, const char *name, const json_t *entry)
{
    nt_safetensor *t = &file->tensor[file->n];
    t->name = strdup(name);
    NT_CHECK_ALLOC(t->name, strlen(name) + 1);
    file->n++;
    NT_CHECK(json_is_object(entry) && json_object_size(entry) == 3, NT_ERR_DATA,
             "'%s': tensor '%s' must have dtype, shape and data_offsets, and nothing else", file->path, name);
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    NT_CHECK(dtype, NT_ERR_DATA, "'%s': tensor '%s' has no dtype", file->path, name);
    const struct dtype *known = find_dtype(dtype);
    NT_CHECK(known, NT_ERR_DATA, "'%s': tensor '%s' has the unknown dtype '%.32s'", file->path, name, dtype);
    t->dtype = known->name;
    NT_TRY(take_shape(file, t, json_object_get(entry, "shape")));
    NT_TRY(take_place(file, t, json_object_get(entry, "data_offsets"), known->bytes));
    return NT_OK;
}

/* __metadata__: strings by names. Nothing here is used, but what is there has to be right. */
static nt_status check_metadata(const nt_safetensors *file, json_t *metadata)
{
    const char *key;
    json_t *value;
    NT_CHECK(json_is_object(metadata), NT_ERR_DATA, "'%s': __metadata__ is not an object", file->path);
    json_object_foreach(metadata, key, value) NT_CHECK(
        json_is_string(value), NT_ERR_DATA, "'%s': __metadata__ '%.64s' is not a string", file->path, key);
    return NT_OK;
}

static int by_place(const void *a, const void *b)
{
    const nt_safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static nt_status check_places(const nt_safetensors *file)
{
    int64_t at = 0;
    for (int i = 0; i < file->n; i++) {
        const nt_safetensor *t = &file->tensor[i];
        NT_CHECK(t->begin == at, NT_ERR_DATA,
                 "'%s': tensor '%s' begins at byte %lld, where %lld was expected: %s", file->path, t->name,
                 (long long)t->begin, (long long)at,
                 t->begin < at ? "it overlaps another" : "there is a hole");
        at = t->end;
    }
    NT_CHECK(at == file->data_bytes, NT_ERR_DATA, "'%s' has %lld bytes after its last tensor", file->path,
             (long long)(file->data_bytes - at));
    return NT_OK;
}

static nt_status take_header(nt_safetensors *file, json_t *header)
{
    const char *name;
    json_t *entry;
    NT_CHECK(json_is_object(header), NT_ERR_DATA, "'%s': the header is not an object", file->path);
    file->tensor = calloc(json_object_size(header) + 1, sizeof *file->tensor);
    NT_CHECK_ALLOC(file->tensor, (json_object_size(header) + 1) * sizeof *file->tensor);
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            NT_TRY(check_metadata(file, entry));
        else
            NT_TRY(take_tensor(file, name, entry));
    }
    qsort(file->tensor, (size_t)file->n, sizeof *file->tensor, by_place);
    NT_TRY(check_places(file));
    return NT_OK;
}

static nt_status parse_header(nt_safetensors *file, const char *text, size_t n_bytes)
{
    json_error_t error;
    NT_CHECK(text[0] == '{', NT_ERR_DATA,
             "'%s' is not a safetensors file: its header does not begin with '{'", file->path);
    json_t *header = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &error);
    NT_CHECK(header, NT_ERR_DATA, "'%s': the header is not valid JSON: %s (at byte %d)", file->path,
             error.text, error.position);
    nt_status status = take_header(file, header);
    json_decref(header);
    NT_TRY(status);
    return NT_OK;
}

/* What torch.save begins with. A header may have such a length too, so this is asked only of what is none. */
static bool is_pickled(const unsigned char *begin)
{
    return memcmp(begin, "PK\3\4", 4) == 0 || (begin[0] == 0x80 && begin[1] == 2);
}

static nt_status read_header(nt_safetensors *file, int64_t file_bytes)
{
    unsigned char length[LENGTH_BYTES];
    char first = 0;
    NT_CHECK(file_bytes >= LENGTH_BYTES, NT_ERR_DATA,
             "'%s' is not a safetensors file: it has only %lld bytes", file->path, (long long)file_bytes);
    NT_TRY(read_at(file, length, sizeof length, 0));
    uint64_t n = little_endian(length, LENGTH_BYTES);
    const bool fits = n >= 2 && n <= MAX_HEADER_BYTES && (int64_t)n <= file_bytes - LENGTH_BYTES;
    if (fits) NT_TRY(read_at(file, &first, 1, LENGTH_BYTES));
    NT_CHECK(first == '{' || !is_pickled(length), NT_ERR_DATA,
             "'%s' is a file of torch.save, not a safetensors file: write it anew with "
             "safetensors.torch.save_file(model.state_dict(), ...)",
             file->path);
    NT_CHECK(
        fits, NT_ERR_DATA,
        "'%s' is not a safetensors file, or is cut off: its header would have %llu bytes, the file has %lld",
        file->path, (unsigned long long)n, (long long)file_bytes);
    file->data_offset = LENGTH_BYTES + (int64_t)n;
    file->data_bytes = file_bytes - file->data_offset;
    char *text = malloc((size_t)n);
    NT_CHECK_ALLOC(text, n);
    nt_status status = read_at(file, text, (size_t)n, LENGTH_BYTES);
    if (status == NT_OK) status = parse_header(file, text, (size_t)n);
    free(text);
    NT_TRY(status);
    return NT_OK;
}

static nt_status open_and_check(nt_safetensors *file, const char *path)
{
    struct stat info;
    file->path = strdup(path);
    NT_CHECK_ALLOC(file->path, strlen(path) + 1);
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    NT_CHECK(file->fd >= 0, NT_ERR_NO_INPUT, "cannot open '%s': %s", path, strerror(errno));
    NT_CHECK(fstat(file->fd, &info) == 0, NT_ERR_IO, "cannot look at '%s': %s", path, strerror(errno));
    NT_CHECK(S_ISREG(info.st_mode), NT_ERR_NO_INPUT, "'%s' is not a regular file", path);
    NT_TRY(read_header(file, info.st_size));
    return NT_OK;
}

nt_status nt_safetensors_open(nt_safetensors **out, const char *path)
{
    *out = NULL;
    nt_safetensors *file = calloc(1, sizeof *file);
    NT_CHECK_ALLOC(file, sizeof *file);
    file->fd = -1;
    nt_status status = open_and_check(file, path);
    if (status != NT_OK) {
        nt_safetensors_close(file);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = file;
    return NT_OK;
}

void nt_safetensors_close(nt_safetensors *file)
{
    if (!file) return;
    for (int i = 0; i < file->n; i++)
        free(file->tensor[i].name);
    free(file->tensor);
    free(file->path);
    if (file->fd >= 0) close(file->fd);
    free(file);
}

int nt_safetensors_count(const nt_safetensors *file)
{
    return file->n;
}

const nt_safetensor *nt_safetensors_get(const nt_safetensors *file, int index)
{
    return &file->tensor[index];
}

const nt_safetensor *nt_safetensors_find(const nt_safetensors *file, const char *name)
{
    for (int i = 0; i < file->n; i++)
        if (strcmp(file->tensor[i].name, name) == 0) return &file->tensor[i];
    return NULL;
}

bool nt_safetensor_is_float(const nt_safetensor *tensor)
{
    return find_dtype(tensor->dtype)->to_float != NULL;
}

/* --- values --- */

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
static float from_half(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* subnormal, exact */
    return sign ? -small : small;
}

static float from_f64(const unsigned char *bytes)
{
    uint64_t bits = little_endian(bytes, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

static float from_f32(const unsigned char *bytes)
{
    return from_bits((uint32_t)little_endian(bytes, 4));
}

static float from_f16(const unsigned char *bytes)
{
    return from_half((uint32_t)little_endian(bytes, 2));
}

static float from_bf16(const unsigned char *bytes)
{
    return from_bits((uint32_t)little_endian(bytes, 2) << 16);
}

nt_status nt_safetensors_read(nt_safetensors *file, const nt_safetensor *tensor, float *out)
{
    enum { AT_ONCE = 8192 };
    unsigned char bytes[AT_ONCE * 8];
    const struct dtype *dtype = find_dtype(tensor->dtype);
    NT_CHECK(dtype->to_float, NT_ERR_DATA, "'%s': tensor '%s' has values of type %s, floats are needed",
             file->path, tensor->name, tensor->dtype);
    int64_t offset = file->data_offset + tensor->begin;
    for (int64_t done = 0; done < tensor->n_elems; done += AT_ONCE) {
        int64_t n = tensor->n_elems - done < AT_ONCE ? tensor->n_elems - done : AT_ONCE;
        NT_TRY(read_at(file, bytes, (size_t)(n * dtype->bytes), offset + done * dtype->bytes));
        for (int64_t i = 0; i < n; i++)
            out[done + i] = dtype->to_float(bytes + i * dtype->bytes);
    }
    return NT_OK;
}

/* --- writing --- */

typedef struct writer {
    const nt_safetensors_item *items;
    int n;
    const char *origin;
    nt_safetensors_get_fn get;
    void *arg;
    float *values; /* of the largest tensor */
} writer;

static json_t *describe(const nt_safetensors_item *item, int64_t begin, int64_t *end)
{
    json_t *dims = json_array();
    for (int i = 0; i < item->shape.n_dims; i++)
        (void)json_array_append_new(
            dims, json_integer(item->shape.dim[i])); /* fails: too few, seen by the reader */
    *end = begin + nt_shape_elems(item->shape) * (int64_t)sizeof(float);
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", dims, "data_offsets", (json_int_t)begin,
                     (json_int_t)*end);
}

/* The header as text, malloc'ed by jansson; NULL without memory. */
static char *make_header(const writer *w)
{
    json_t *header = json_pack("{s:{s:s, s:s}}", "__metadata__", "format", "pt", "source", w->origin);
    int64_t at = 0;
    bool ok = header != NULL;
    for (int i = 0; ok && i < w->n; i++)
        ok = json_object_set_new(header, w->items[i].name, describe(&w->items[i], at, &at)) == 0;
    char *text = ok ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static bool write_header(int fd, const char *text)
{
    static const char blanks[ALIGN_BYTES + 1] = "        ";
    size_t n = strlen(text), padded = (n + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)(padded >> 8 * i);
    return nt_file_write(fd, length, sizeof length) && nt_file_write(fd, text, n) &&
           nt_file_write(fd, blanks, padded - n);
}

static nt_status write_values(const writer *w, int fd, const char *path)
{
    for (int i = 0; i < w->n; i++) {
        int64_t n = nt_shape_elems(w->items[i].shape);
        NT_TRY(w->get(w->arg, i, w->values));
        for (int64_t j = 0; __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && j < n; j++) {
            uint32_t bits;
            memcpy(&bits, &w->values[j], sizeof bits);
            bits = __builtin_bswap32(bits);
            memcpy(&w->values[j], &bits, sizeof bits);
        }
        NT_CHECK(nt_file_write(fd, w->values, (size_t)n * sizeof *w->values), NT_ERR_IO,
                 "cannot write '%s': %s", path, strerror(errno));
    }
    return NT_OK;
}

static nt_status write_all(void *arg, int fd, const char *path)
{
    const writer *w = arg;
    char *header = make_header(w);
    NT_CHECK_ALLOC(header, 256);
    bool written = write_header(fd, header);
    int error = errno;
    free(header);
    NT_CHECK(written, NT_ERR_IO, "cannot write '%s': %s", path, strerror(error));
    NT_TRY(write_values(w, fd, path));
    return NT_OK;
}

nt_status nt_safetensors_write(const char *path, const nt_safetensors_item *items, int n, const char *origin,
                               nt_safetensors_get_fn get, void *arg)
{
    writer w = {.items = items, .n = n, .origin = origin, .get = get, .arg = arg};
    int64_t most = 1;
    for (int i = 0; i < n; i++)
        if (nt_shape_elems(items[i].shape) > most) most = nt_shape_elems(items[i].shape);
    w.values = malloc((size_t)most * sizeof *w.values);
    NT_CHECK_ALLOC(w.values, (size_t)most * sizeof *w.values);
    nt_status status = nt_file_replace(path, write_all, &w);
    free(w.values);
    NT_TRY(status);
    return NT_OK;
}
