/* nntrain import FORMAT: the command line of the importers in datasets/import.h. There is one file to write:
 * rank 0 writes it, however many ranks were started. */
#include "launcher/command.h"

#include "core/text.h"
#include "datasets/dataset.h"
#include "datasets/import.h"

#include <string.h>

#define USAGE                                                                                                \
    "nntrain import FORMAT INPUT... OUT.h5 [--force] [--deflate 0..9] [--source TEXT]; see nntrain help "    \
    "import"
#define MAX_INPUTS 1000
#define MAX_NAMES  10 /* of classes */

/* "1x8x8" to a shape of at most 2^40 elements. */
static nt_status parse_shape(const char *text, nt_shape *shape)
{
    char copy[128], *rest = copy;
    int64_t dim, n = 1;
    *shape = (nt_shape){0};
    NT_CHECK(strlen(text) < sizeof copy, NT_ERR_USAGE, "--shape '%.200s' is too long", text);
    strcpy(copy, text);
    for (char *word = strsep(&rest, "x,"); word; word = strsep(&rest, "x,")) {
        NT_CHECK(nt_text_to_int(word, &dim) && dim >= 1 && shape->n_dims < NT_MAX_DIMS - 1, NT_ERR_USAGE,
                 "--shape wants something like 1x8x8, got '%s'", text);
        NT_CHECK(dim <= ((int64_t)1 << 40) / n, NT_ERR_USAGE, "--shape %s has more than 2^40 values", text);
        n *= dim;
        shape->dim[shape->n_dims++] = dim;
    }
    return NT_OK;
}

/* "224x224", or "224" for a square. */
static nt_status parse_size(const char *text, int64_t size[2])
{
    nt_shape shape;
    size[0] = size[1] = 0;
    if (!text) return NT_OK;
    nt_status status = parse_shape(text, &shape);
    NT_CHECK(status == NT_OK && shape.n_dims >= 1 && shape.n_dims <= 2, NT_ERR_USAGE,
             "--size wants something like 224x224, got '%s'", text);
    size[0] = shape.dim[0];
    size[1] = shape.dim[shape.n_dims - 1];
    return NT_OK;
}

static nt_status find_importer(const char *name, const nt_importer **out)
{
    const char *names[32];
    int n = 0;
    for (; nt_importers()[n] && n < 31; n++)
        names[n] = nt_importers()[n]->name;
    names[n] = NULL;
    *out = nt_importer_find(name);
    const char *nearest = *out ? NULL : nt_text_nearest(name, names);
    NT_CHECK(*out, NT_ERR_USAGE, "there is no importer '%s'%s%s%s", name, nearest ? "; did you mean '" : "",
             nearest ? nearest : "", nearest ? "'?" : "");
    return NT_OK;
}

/* Whether a usage line has this flag. */
static bool takes(const char *usage, const char *flag)
{
    char word[64];
    snprintf(word, sizeof word, "--%s", flag);
    for (const char *at = usage; (at = strstr(at, word)); at++) {
        const char next = at[strlen(word)];
        if (next == '\0' || !strchr("abcdefghijklmnopqrstuvwxyz-", next)) return true;
    }
    return false;
}

/* A flag of another format would be passed over without a word. */
static nt_status check_flags(const nt_args *args, const nt_flag *flags, const nt_importer *importer)
{
    for (int i = 0; args->given >> i; i++)
        NT_CHECK(!(args->given >> i & 1) || takes(USAGE, flags[i].name) ||
                     takes(importer->usage, flags[i].name),
                 NT_ERR_USAGE, "--%s is not for %s; usage: nntrain import %s %s OUT.h5", flags[i].name,
                 importer->name, importer->name, importer->usage);
    return NT_OK;
}

/* What the flags' own types do not check. */
typedef struct raw_flags {
    const char *shape, *scale, *size, *test_fraction;
    int64_t deflate;
} raw_flags;

/* What the file holds now, as training will see it. */
static nt_status print_part(const nt_data_options *options, nt_split split, bool *found)
{
    nt_dataset *ds = NULL;
    char text[512];
    NT_TRY(nt_dataset_open(&ds, options, split, 1));
    *found = ds != NULL;
    if (!ds || ds->spec.n_labels > 0) {
        nt_dataset_close(ds);
        return NT_OK;
    }
    nt_dataset_describe(ds, text, sizeof text);
    printf("  %s", text);
    for (int64_t i = 0; ds->class_names && i < ds->spec.n_classes && i <= MAX_NAMES; i++) {
        nt_text_escape(text, sizeof text, ds->class_names[i]);
        printf("%s%s", i == 0 ? ": " : ", ", i < MAX_NAMES ? text : "...");
    }
    printf("\n");
    nt_dataset_close(ds);
    return NT_OK;
}

/* Of a stream of tokens the importer itself says how long it is: samples are cut out of it in training. None
 * is kept in memory, as training would, only to be described. */
static nt_status print_parts(const char *path)
{
    nt_data_options options;
    bool train, valid;
    NT_TRY(nt_section_defaults(&nt_data_section, &options));
    options.file = (nt_names){.n = 1, .name = &path};
    options.any_sequence = true;
    options.memory_mb = 0;
    options.shuffle = false;
    printf("imported into %s\n", path);
    NT_TRY(print_part(&options, NT_SPLIT_TRAIN, &train));
    NT_TRY(print_part(&options, NT_SPLIT_VALID, &valid));
    if (!valid) printf("  no test part: nothing to validate by\n");
    return NT_OK;
}

static nt_status import_into_file(const nt_args *args, nt_import_args *in, const raw_flags *raw,
                                  const nt_flag *flags)
{
    const nt_importer *importer = NULL;
    NT_CHECK(raw->deflate <= 9, NT_ERR_USAGE, "--deflate is 0 to 9, got %lld", (long long)raw->deflate);
    NT_TRY(find_importer(args->word[0], &importer));
    NT_TRY(check_flags(args, flags, importer));
    if (raw->shape) NT_TRY(parse_shape(raw->shape, &in->shape));
    NT_CHECK(!raw->scale || (nt_text_to_float(raw->scale, &in->scale) && in->scale > 0), NT_ERR_USAGE,
             "--scale wants a number above 0, got '%s'", raw->scale);
    NT_TRY(parse_size(raw->size, in->size));
    NT_CHECK(!raw->test_fraction || (nt_text_to_float(raw->test_fraction, &in->test_fraction) &&
                                     in->test_fraction >= 0 && in->test_fraction < 1),
             NT_ERR_USAGE, "--test-fraction wants a number between 0 and 1, got '%s'", raw->test_fraction);
    in->deflate = (int)raw->deflate;
    in->n_inputs = args->n_words - 2;
    in->inputs = args->word + 1;
    in->out = args->word[args->n_words - 1];
    NT_TRY(importer->run(in));
    NT_TRY(print_parts(in->out));
    return NT_OK;
}

static nt_status import_run(nt_session *session, int argc, char **argv)
{
    nt_import_args in = {.deflate = 0, .test_fraction = -1};
    raw_flags raw = {.deflate = 4};
    const nt_flag flags[] = {
        {"force", NT_FLAG_BOOL, &in.force, "replace the output"},
        {"deflate", NT_FLAG_INT, &raw.deflate, "compression level, 0 to 9; default 4"},
        {"source", NT_FLAG_STRING, &in.source, "where the data come from, in words"},
        {"shape", NT_FLAG_STRING, &raw.shape, "csv, npy: shape of a sample, as 1x8x8"},
        {"test-rows", NT_FLAG_INT, &in.test_rows, "csv: the last so many rows are the test part"},
        {"targets", NT_FLAG_INT, &in.n_targets, "csv, npy: so many columns of target values"},
        {"label-first", NT_FLAG_BOOL, &in.label_first, "csv: label or targets come first"},
        {"header", NT_FLAG_BOOL, &in.header, "csv: the first line holds names"},
        {"no-header", NT_FLAG_BOOL, &in.no_header, "csv: it is a row, though of a class that no other is of"},
        {"scale", NT_FLAG_STRING, &raw.scale, "csv: factor on stored values"},
        {"size", NT_FLAG_STRING, &raw.size, "images: resize all to HEIGHTxWIDTH, with antialias"},
        {"crop", NT_FLAG_BOOL, &in.crop, "images: with --size, cut out the middle instead of squeezing"},
        {"channels", NT_FLAG_INT, &in.channels, "images: 1 or 3; default: 1 if all are grey, else 3"},
        {"test-fraction", NT_FLAG_STRING, &raw.test_fraction,
         "part that is taken for testing; images: by name; csv: anywhere; text: the end, default 0.1"},
        {"skip-bad", NT_FLAG_BOOL, &in.skip_bad, "images: leave damaged files out"},
        {"ignore-exif", NT_FLAG_BOOL, &in.ignore_exif, "images: do not turn them upright"},
        {"follow-links", NT_FLAG_BOOL, &in.follow_links, "images: also links that lead out of the folder"},
        {"coarse", NT_FLAG_BOOL, &in.coarse, "cifar100: the 20 coarse classes"},
        {"nhwc", NT_FLAG_BOOL, &in.channels_last, "npy: images are (N, H, W, C)"},
        {"nchw", NT_FLAG_BOOL, &in.channels_first, "npy: images are (N, C, H, W)"},
        {"vocabulary", NT_FLAG_STRING, &in.vocabulary, "text: a file of one token a line; default: bytes"}};
    const nt_syntax syntax = {USAGE, 3, MAX_INPUTS, false, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    nt_status status = NT_OK;
    if (nt_session_is_root(session)) status = import_into_file(&session->args, &in, &raw, flags);
    return nt_session_agree(session, status);
}

const nt_command nt_cmd_import = {
    .name = "import",
    .usage = USAGE,
    .help = "make an HDF5 dataset from files of other formats",
    .run = import_run,
};
