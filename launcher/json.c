/* The text comes back by value: several numbers fit into one printf. */
#include "launcher/json.h"

#include <math.h>
#include <stdio.h>

nt_json_text nt_json_number(double value)
{
    nt_json_text json = {"null"};
    if (isfinite(value)) snprintf(json.text, sizeof json.text, "%.9g", value);
    return json;
}
