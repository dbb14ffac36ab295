/* The meta data of a checkpoint: attributes of the file's root, and a digest over them.
 *
 * One table says which field is which attribute; writing, reading and the digest are loops over it, so a new
 * field is one line and cannot be forgotten in one of the three. */
#include "core/checkpoint_private.h"

#include <stdlib.h>
#include <string.h>

typedef enum field_kind { FIELD_INT64, FIELD_INT, FIELD_HASH, FIELD_FLOAT, FIELD_TEXT } field_kind;

static const struct field {
    const char *name;
    field_kind kind;
    size_t offset;
    bool optional; /* 0, or the text "", and not there are the same, also in the digest */
} fields[] = {
    {"step", FIELD_INT64, offsetof(nt_checkpoint_meta, position.step)},
    {"epoch", FIELD_INT64, offsetof(nt_checkpoint_meta, position.epoch)},
    {"batch", FIELD_INT64, offsetof(nt_checkpoint_meta, position.batch)},
    {"best_loss", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.best)},
    {"best_step", FIELD_INT64, offsetof(nt_checkpoint_meta, position.best_step)},
    {"epoch_loss", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.epoch_sum.loss)},
    {"epoch_loss_squared", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.epoch_sum.loss_squared)},
    {"epoch_correct", FIELD_INT64, offsetof(nt_checkpoint_meta, position.epoch_sum.correct)},
    {"epoch_samples", FIELD_INT64, offsetof(nt_checkpoint_meta, position.epoch_sum.n)},
    {"config", FIELD_TEXT, offsetof(nt_checkpoint_meta, config_text)},
    {"config_hash", FIELD_HASH, offsetof(nt_checkpoint_meta, config_hash)},
    {"tuning", FIELD_TEXT, offsetof(nt_checkpoint_meta, tuning_text)},
    {"backend", FIELD_TEXT, offsetof(nt_checkpoint_meta, backend)},
    {"n_ranks", FIELD_INT, offsetof(nt_checkpoint_meta, n_ranks)},
    {"optimizer", FIELD_TEXT, offsetof(nt_checkpoint_meta, optimizer)},
    {"plateau_n", FIELD_INT64, offsetof(nt_checkpoint_meta, position.plateau.progress.n), .optional = true},
    {"plateau_best", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.plateau.progress.best),
     .optional = true},
    {"plateau_bad", FIELD_INT64, offsetof(nt_checkpoint_meta, position.plateau.progress.bad),
     .optional = true},
    {"plateau_cooling", FIELD_INT64, offsetof(nt_checkpoint_meta, position.plateau.cooling),
     .optional = true},
    {"plateau_lr", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.plateau.lr), .optional = true},
    {"stop_n", FIELD_INT64, offsetof(nt_checkpoint_meta, position.stop.n), .optional = true},
    {"stop_best", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.stop.best), .optional = true},
    {"stop_bad", FIELD_INT64, offsetof(nt_checkpoint_meta, position.stop.bad), .optional = true},
    {"threads", FIELD_INT, offsetof(nt_checkpoint_meta, threads), .optional = true},
    {"features", FIELD_TEXT, offsetof(nt_checkpoint_meta, features), .optional = true},
    {"epoch_answers", FIELD_INT64, offsetof(nt_checkpoint_meta, position.epoch_sum.answers),
     .optional = true},
    {"epoch_nats", FIELD_FLOAT, offsetof(nt_checkpoint_meta, position.epoch_sum.nats), .optional = true},
};

#define MAX_TEXT_BYTES ((size_t)16 << 20)

static const void *place(const nt_checkpoint_meta *meta, const struct field *f)
{
    return (const char *)meta + f->offset;
}

/* A field's value as text, "" for NULL. */
static const char *text_of(const nt_checkpoint_meta *meta, const struct field *f)
{
    const char *text = *(char *const *)place(meta, f);
    return text ? text : "";
}

/* A number field as an integer; floats by their bits. */
static int64_t integer_of(const nt_checkpoint_meta *meta, const struct field *f)
{
    int64_t value = 0;
    if (f->kind == FIELD_INT)
        value = *(const int *)place(meta, f);
    else
        memcpy(&value, place(meta, f), sizeof value);
    return value;
}

/* Whether the field stands in a file at all. */
static bool is_stored(const nt_checkpoint_meta *meta, const struct field *f)
{
    if (f->optional && f->kind == FIELD_TEXT) return *text_of(meta, f) != '\0';
    return !f->optional || integer_of(meta, f) != 0;
}

nt_status nt_checkpoint_meta_put(const nt_checkpoint_meta *meta, nt_h5 *h5)
{
    for (int i = 0; i < NT_N_ELEMS(fields); i++) {
        const struct field *f = &fields[i];
        if (!is_stored(meta, f)) continue;
        if (f->kind == FIELD_TEXT)
            NT_TRY(nt_h5_put_string(h5, "/", f->name, text_of(meta, f)));
        else if (f->kind == FIELD_FLOAT)
            NT_TRY(nt_h5_put_floats(h5, "/", f->name, place(meta, f), 1));
        else
            NT_TRY(nt_h5_put_int(h5, "/", f->name, integer_of(meta, f)));
    }
    return NT_OK;
}

static nt_status get_field(nt_checkpoint_meta *meta, nt_h5 *h5, const struct field *f)
{
    char *at = (char *)meta + f->offset;
    bool found;
    int64_t value = 0;
    int n;
    if (f->kind == FIELD_TEXT)
        NT_TRY(nt_h5_attr_text(h5, "/", f->name, MAX_TEXT_BYTES, (char **)at, &found));
    else if (f->kind == FIELD_FLOAT)
        NT_TRY(nt_h5_attr_floats(h5, "/", f->name, (double *)at, 1, &n, &found));
    else
        NT_TRY(nt_h5_attr_int(h5, "/", f->name, &value, &found));
    NT_CHECK(found || f->optional, NT_ERR_DATA, "%s: has no attribute '%s'", nt_h5_path(h5), f->name);
    if (f->kind == FIELD_INT) {
        NT_CHECK(value >= 0 && value <= INT32_MAX, NT_ERR_DATA, "%s: attribute '%s' is %lld", nt_h5_path(h5),
                 f->name, (long long)value);
        *(int *)at = (int)value;
    } else if (f->kind == FIELD_INT64 || f->kind == FIELD_HASH) {
        memcpy(at, &value, sizeof value);
    }
    return NT_OK;
}

nt_status nt_checkpoint_meta_get(nt_checkpoint_meta *meta, nt_h5 *h5)
{
    memset(meta, 0, sizeof *meta);
    for (int i = 0; i < NT_N_ELEMS(fields); i++) {
        nt_status status = get_field(meta, h5, &fields[i]);
        if (status == NT_OK) continue;
        nt_checkpoint_meta_free(meta);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    return NT_OK;
}

void nt_checkpoint_meta_free(nt_checkpoint_meta *meta)
{
    for (int i = 0; i < NT_N_ELEMS(fields); i++)
        if (fields[i].kind == FIELD_TEXT) free(*(char **)((char *)meta + fields[i].offset));
    memset(meta, 0, sizeof *meta);
}

/* Names and texts with their terminators, so that no two different lists give the same bytes. */
XXH128_hash_t nt_checkpoint_meta_digest(const nt_checkpoint_meta *meta, int64_t version, const char *program,
                                        XXH128_hash_t weights)
{
    XXH3_state_t state;
    XXH128_canonical_t canonical;
    XXH3_128bits_reset(&state);
    XXH128_canonicalFromHash(&canonical, weights);
    XXH3_128bits_update(&state, &canonical, sizeof canonical);
    XXH3_128bits_update(&state, &version, sizeof version);
    XXH3_128bits_update(&state, program, strlen(program) + 1);
    for (int i = 0; i < NT_N_ELEMS(fields); i++) {
        const struct field *f = &fields[i];
        if (!is_stored(meta, f)) continue;
        int64_t value = f->kind == FIELD_TEXT ? 0 : integer_of(meta, f);
        const char *text = f->kind == FIELD_TEXT ? text_of(meta, f) : "";
        XXH3_128bits_update(&state, f->name, strlen(f->name) + 1);
        XXH3_128bits_update(&state, &value, sizeof value);
        XXH3_128bits_update(&state, text, strlen(text) + 1);
    }
    return XXH3_128bits_digest(&state);
}
