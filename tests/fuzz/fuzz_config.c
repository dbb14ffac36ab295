/* The config reader: any text is a configuration or an error with a place; a configuration that is read
 * prints as text that reads back to the same hash, and its model is built or refused. */
#include "fuzz.h"

#include "core/config.h"
#include "core/model.h"
#include "launcher/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void demand(bool good, const char *what, const char *text)
{
    if (good) return;
    fprintf(stderr, "%s: %s\n%s\n", what, nt_error_last()->message, text ? text : "");
    abort();
}

static void must_read_back(const nt_config *config)
{
    char *text = NULL;
    nt_config *again = NULL;
    demand(nt_config_text(config, &text) == NT_OK, "no text", NULL);
    demand(nt_config_parse(&again, "again", text, strlen(text), NULL, 0, nt_all_sections) == NT_OK,
           "the text does not read back", text);
    demand(nt_config_hash(again) == nt_config_hash(config), "the hash is another", text);
    nt_config_destroy(again);
    free(text);
}

static void build_model(nt_config *config)
{
    const nt_sample_spec spec = {.x_dtype = NT_U8,
                                 .x = nt_shape_of(3, (int64_t)3, (int64_t)32, (int64_t)32),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = 10,
                                 .input = {.scale = 1}};
    nt_model *model = NULL;
    if (nt_model_create(&model, config, &spec) == NT_OK) nt_model_destroy(model);
    nt_error_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    nt_config *config = NULL;
    if (nt_config_parse(&config, "fuzz.ini", (const char *)bytes, n_bytes, NULL, 0, nt_all_sections) ==
        NT_OK) {
        must_read_back(config);
        build_model(config);
        nt_config_destroy(config);
    }
    nt_error_clear();
    return 0;
}
