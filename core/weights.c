/* Loading matches names first and values after: what does not fit is known, and said in full, before the net
 * changes. */
#include "core/weights.h"

#include "core/log.h"
#include "core/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A list of names for a message, cut off where it gets too long. */
typedef struct names {
    char text[600];
    int n;
} names;

static void names_add(names *list, const char *name)
{
    size_t used = strlen(list->text), room = sizeof list->text - used;
    if (list->n++ < 8 && strlen(name) + 8 < room)
        snprintf(list->text + used, room, "%s%s", used ? ", " : "", name);
    else if (room > 4 && !strstr(list->text, ", ..."))
        snprintf(list->text + used, room, ", ...");
}

/* What was found out about a file and a net. */
typedef struct match {
    nt_net *net;
    nt_safetensors *file;
    const nt_safetensor **source; /* (slots) NULL: not in the file, or of another shape */
    int n_taken;
    names missing, unknown, misshapen;
} match;

static bool is_counter(const char *name)
{
    static const char end[] = "num_batches_tracked"; /* of no use here: momentum is a constant */
    size_t n = strlen(name);
    return n >= sizeof end - 1 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

/* The slot of the weight that a layer of this name has in common with another; -1: it is no such name. */
static int shared_slot(const nt_net *net, const char *name)
{
    const nt_model *model = nt_net_model(net);
    char own[2 * NT_NAME_BYTES];
    for (int i = 0; i < model->n_layers; i++) {
        const nt_layer *layer = &model->layer[i];
        if (layer->n_params == 0 || !layer->param[0].owner) continue;
        (void)nt_layer_param_name(layer, 0, own, sizeof own);
        for (int s = 0; strcmp(own, name) == 0 && s < nt_net_n_slots(net); s++) {
            const nt_slot *slot = nt_net_get_slot(net, s);
            if (slot->layer == layer->param[0].owner && slot->param == 0) return s;
        }
    }
    return -1;
}

/* The tensor of a slot in the file, under its own name or that of a layer that has it in common. */
static const nt_safetensor *find_tensor(const match *m, int index)
{
    const nt_safetensor *t = nt_safetensors_find(m->file, nt_net_get_slot(m->net, index)->name);
    for (int i = 0; !t && i < nt_safetensors_count(m->file); i++)
        if (shared_slot(m->net, nt_safetensors_get(m->file, i)->name) == index)
            t = nt_safetensors_get(m->file, i);
    return t;
}

static void match_slot(match *m, int index)
{
    const nt_slot *slot = nt_net_get_slot(m->net, index);
    const nt_safetensor *t = find_tensor(m, index);
    char text[300], ours[NT_SHAPE_TEXT_BYTES], theirs[NT_SHAPE_TEXT_BYTES];
    if (!t) {
        names_add(&m->missing, slot->name);
    } else if (!nt_shape_equal(t->shape, slot->tensor.shape)) {
        snprintf(text, sizeof text, "%s (the model has %s, the file %s)", slot->name,
                 nt_shape_text(slot->tensor.shape, ours), nt_shape_text(t->shape, theirs));
        names_add(&m->misshapen, text);
    } else {
        m->source[index] = t;
        m->n_taken++;
    }
}

static bool is_slot(const nt_net *net, const char *name)
{
    for (int i = 0; i < nt_net_n_slots(net); i++)
        if (strcmp(nt_net_get_slot(net, i)->name, name) == 0) return true;
    return false;
}

static void match_all(match *m)
{
    for (int i = 0; i < nt_net_n_slots(m->net); i++)
        match_slot(m, i);
    for (int i = 0; i < nt_safetensors_count(m->file); i++) {
        const char *name = nt_safetensors_get(m->file, i)->name;
        if (!is_counter(name) && !is_slot(m->net, name) && shared_slot(m->net, name) < 0)
            names_add(&m->unknown, name);
    }
}

/* " 3 missing (a, b, c);" or nothing */
static void describe(char *text, size_t cap, const char *what, const names *list)
{
    size_t used = strlen(text);
    if (list->n > 0) snprintf(text + used, cap - used, " %d %s: %s;", list->n, what, list->text);
}

static nt_status judge(const match *m, const char *path, bool partial)
{
    char text[2000] = "";
    describe(text, sizeof text, "not in the file", &m->missing);
    describe(text, sizeof text, "of another shape", &m->misshapen);
    describe(text, sizeof text, "not in the model", &m->unknown);
    if (text[0]) text[strlen(text) - 1] = '\0';
    NT_CHECK(!text[0] || partial, NT_ERR_CONFIG,
             "the weights in '%s' are not this model's:%s; model.init_partial = yes takes what fits", path,
             text);
    NT_CHECK(m->n_taken > 0 || nt_net_n_slots(m->net) == 0, NT_ERR_CONFIG,
             "nothing in '%s' has the name and shape of a parameter of this model:%s", path, text);
    if (text[0])
        nt_info("%d of %d parameters taken from '%s';%s", m->n_taken, nt_net_n_slots(m->net), path, text);
    return NT_OK;
}

/* Reads the values of a slot, all of which must be finite; puts them into the net if `take`. */
static nt_status read_slot(match *m, int index, float *values, bool take)
{
    const nt_safetensor *t = m->source[index];
    NT_TRY(nt_safetensors_read(m->file, t, values));
    for (int64_t i = 0; i < t->n_elems; i++)
        NT_CHECK(isfinite(values[i]), NT_ERR_DATA, "tensor '%s' holds a value that is not finite", t->name);
    if (take) NT_TRY(nt_net_write(m->net, index, NT_ARRAY_PARAM, values));
    return NT_OK;
}

/* Fails if a tensor under the name of a layer that has a slot's weight in common is another than the slot's.
 */
static nt_status compare_shared(match *m, const nt_safetensor *t, float *values, float *others)
{
    const int slot = shared_slot(m->net, t->name);
    const nt_safetensor *taken = slot >= 0 ? m->source[slot] : NULL;
    if (!taken || taken == t) return NT_OK;
    bool same = nt_shape_equal(t->shape, taken->shape);
    if (same) {
        NT_TRY(nt_safetensors_read(m->file, t, others));
        NT_TRY(nt_safetensors_read(m->file, taken, values));
        same = memcmp(values, others, (size_t)t->n_elems * sizeof *values) == 0;
    }
    NT_CHECK(same, NT_ERR_CONFIG,
             "tensors '%s' and '%s' of the file differ, but they are one weight in this model: remove one of "
             "them, or the layer's `weight =`",
             taken->name, t->name);
    return NT_OK;
}

static nt_status compare_all_shared(match *m, int64_t most, float *values)
{
    float *others = malloc((size_t)most * sizeof *others);
    NT_CHECK_ALLOC(others, (size_t)most * sizeof *others);
    nt_status status = NT_OK;
    for (int i = 0; i < nt_safetensors_count(m->file) && status == NT_OK; i++)
        status = compare_shared(m, nt_safetensors_get(m->file, i), values, others);
    free(others);
    return status;
}

/* Everything is read twice, so that a damaged file leaves the net as it was. */
static nt_status read_all(match *m)
{
    int64_t most = 1;
    for (int i = 0; i < nt_net_n_slots(m->net); i++)
        if (m->source[i] && m->source[i]->n_elems > most) most = m->source[i]->n_elems;
    float *values = malloc((size_t)most * sizeof *values);
    NT_CHECK_ALLOC(values, (size_t)most * sizeof *values);
    nt_status status = compare_all_shared(m, most, values);
    for (int take = 0; take < 2; take++)
        for (int i = 0; i < nt_net_n_slots(m->net) && status == NT_OK; i++)
            if (m->source[i]) status = read_slot(m, i, values, take);
    free(values);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_weights_load(nt_net *net, const char *path, bool partial)
{
    match m = {.net = net};
    NT_TRY(nt_safetensors_open(&m.file, path));
    m.source = calloc((size_t)nt_net_n_slots(net) + 1, sizeof *m.source);
    nt_status status = NT_OK;
    if (m.source) {
        match_all(&m);
        status = judge(&m, path, partial);
        if (status == NT_OK) status = read_all(&m);
    }
    bool allocated = m.source != NULL;
    free(m.source);
    nt_safetensors_close(m.file);
    NT_CHECK_ALLOC(allocated, (size_t)nt_net_n_slots(net) * sizeof *m.source);
    NT_TRY(status);
    return NT_OK;
}

/* --- saving --- */

typedef struct saver {
    nt_net *net;
    int *slot;  /* first layer first: slots lie in the order of backward */
    char *name; /* (items, NT_NAME_BYTES) of a weight in common under its other names */
} saver;

static nt_status get_slot(void *arg, int index, float *values)
{
    saver *s = arg;
    NT_TRY(nt_net_read(s->net, s->slot[index], NT_ARRAY_PARAM, values));
    return NT_OK;
}

/* The slots of a layer; *n is how many items there are. */
static void list_layer(const saver *s, int layer, nt_safetensors_item *items, int *n)
{
    const nt_layer *it = &nt_net_model(s->net)->layer[layer];
    for (int i = 0; i < nt_net_n_slots(s->net); i++) {
        const nt_slot *slot = nt_net_get_slot(s->net, i);
        if (slot->layer != layer) continue;
        s->slot[*n] = i;
        items[(*n)++] = (nt_safetensors_item){slot->name, slot->tensor.shape};
    }
    if (it->n_params == 0 || !it->param[0].owner) return;
    char *name = s->name + *n * NT_NAME_BYTES;
    (void)nt_layer_param_name(it, 0, name, NT_NAME_BYTES);
    s->slot[*n] = shared_slot(s->net, name);
    items[(*n)++] = (nt_safetensors_item){name, it->param[0].shape};
}

nt_status nt_weights_save(nt_net *net, const char *path)
{
    const int n_layers = nt_net_model(net)->n_layers;
    const size_t n = (size_t)nt_net_n_slots(net) + (size_t)n_layers; /* at most */
    saver s = {.net = net, .slot = calloc(n, sizeof *s.slot), .name = calloc(n, NT_NAME_BYTES)};
    nt_safetensors_item *items = calloc(n, sizeof *items);
    nt_status status = NT_OK;
    bool allocated = s.slot && s.name && items;
    int n_items = 0;
    if (allocated) {
        for (int layer = 0; layer < n_layers; layer++)
            list_layer(&s, layer, items, &n_items);
        status = nt_safetensors_write(path, items, n_items, "nntrain " NNTRAIN_VERSION, get_slot, &s);
    }
    free(items);
    free(s.slot);
    free(s.name);
    NT_CHECK_ALLOC(allocated, n * sizeof *items);
    NT_TRY(status);
    return NT_OK;
}
