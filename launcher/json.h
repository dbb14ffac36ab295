/* Numbers in JSON, which knows neither infinities nor NaN. */
#ifndef NT_LAUNCHER_JSON_H
#define NT_LAUNCHER_JSON_H

typedef struct nt_json_text {
    char text[32];
} nt_json_text;

/* The value to nine digits, so that equal values give equal text; `null` unless it is finite. */
nt_json_text nt_json_number(double value);

#endif
