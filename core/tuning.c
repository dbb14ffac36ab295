/* A list of "name = choice" pairs: the algorithms chosen by timing. Small (one per convolution), so it is
 * searched from the front. */
#include "core/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct choice {
    char *name, *value;
} choice;

struct nt_tuning {
    choice *choices;
    int n_choices;
    bool may_time;
};

nt_status nt_tuning_create(nt_tuning **out, bool may_time)
{
    nt_tuning *tuning = calloc(1, sizeof *tuning);
    NT_CHECK_ALLOC(tuning, sizeof *tuning);
    tuning->may_time = may_time;
    *out = tuning;
    return NT_OK;
}

void nt_tuning_destroy(nt_tuning *tuning)
{
    if (!tuning) return;
    for (int i = 0; i < tuning->n_choices; i++) {
        free(tuning->choices[i].name);
        free(tuning->choices[i].value);
    }
    free(tuning->choices);
    free(tuning);
}

bool nt_tuning_may_time(const nt_tuning *tuning)
{
    return tuning->may_time;
}

static choice *find_choice(const nt_tuning *tuning, const char *name)
{
    for (int i = 0; i < tuning->n_choices; i++)
        if (strcmp(tuning->choices[i].name, name) == 0) return &tuning->choices[i];
    return NULL;
}

const char *nt_tuning_get(const nt_tuning *tuning, const char *name)
{
    const choice *c = find_choice(tuning, name);
    return c ? c->value : NULL;
}

static nt_status add_choice(nt_tuning *tuning, const char *name, char *value)
{
    choice *grown = realloc(tuning->choices, (size_t)(tuning->n_choices + 1) * sizeof *grown);
    char *name_copy = strdup(name);
    if (grown) tuning->choices = grown;
    if (!grown || !name_copy) {
        free(name_copy);
        free(value);
        NT_CHECK_ALLOC(NULL, sizeof *grown);
    }
    grown[tuning->n_choices++] = (choice){name_copy, value};
    return NT_OK;
}

nt_status nt_tuning_set(nt_tuning *tuning, const char *name, const char *value)
{
    char *copy = strdup(value);
    NT_CHECK_ALLOC(copy, strlen(value) + 1);
    choice *c = find_choice(tuning, name);
    if (!c) return add_choice(tuning, name, copy);
    free(c->value);
    c->value = copy;
    return NT_OK;
}

nt_status nt_tuning_text(const nt_tuning *tuning, char **out)
{
    size_t n_bytes = 0;
    FILE *stream = open_memstream(out, &n_bytes);
    NT_CHECK_ALLOC(stream, (size_t)1);
    for (int i = 0; i < tuning->n_choices; i++)
        fprintf(stream, "%s = %s\n", tuning->choices[i].name, tuning->choices[i].value);
    NT_CHECK(fclose(stream) == 0, NT_ERR_UNAVAILABLE, "out of memory while writing the tuning table");
    return NT_OK;
}

nt_status nt_tuning_parse(nt_tuning *tuning, const char *text)
{
    while (*text) {
        char name[NT_NAME_BYTES + 64], value[256];
        int used = 0;
        NT_CHECK(sscanf(text, "%191s = %255[^\n]%n", name, value, &used) == 2, NT_ERR_DATA,
                 "bad line in a tuning table: '%.80s'", text);
        NT_TRY(nt_tuning_set(tuning, name, value));
        text += used;
        if (*text == '\n') text++;
    }
    return NT_OK;
}
