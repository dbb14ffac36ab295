/* One static console, as there is one terminal. Every drawing is a single write of a whole line that begins
 * with a carriage return, so a log line of another thread never lands inside it. */
#include "launcher/console.h"

#include "core/clock.h"
#include "core/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_S  0.2
#define BAR_CELLS 24

static struct {
    atomic_bool terminal, drawn; /* log lines of any thread wipe the bar */
    bool color;
    double last_s;
} console;

/* Whether the process that started us has a terminal as its stderr. */
static bool parent_has_terminal(void)
{
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/%d/fd/2", (int)getppid());
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0) return false;
    target[n] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

/* Removes the bar's line; also the hook called before each log line. */
static void console_wipe(void)
{
    static const char wipe[] = "\r\033[K";
    if (!atomic_exchange(&console.drawn, false)) return;
    if (write(STDERR_FILENO, wipe, sizeof wipe - 1) < 0) console.terminal = false;
}

void nt_console_start(bool launched)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool capable = term && strcmp(term, "dumb") != 0;
    console.terminal = capable && (isatty(STDERR_FILENO) || (launched && parent_has_terminal()));
    console.color = !(no_color && *no_color);
    nt_log_set_hook(console.terminal ? console_wipe : NULL);
}

bool nt_console_is_terminal(void)
{
    return console.terminal;
}

void nt_console_duration(char *text, size_t cap, double seconds)
{
    long long s = seconds > 0 && seconds < 1e9 ? llround(seconds) : 0;
    if (s >= 3600)
        snprintf(text, cap, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, cap, "%lld:%02lld", s / 60, s % 60);
}

/* Appends printf-style at *used, never past cap. */
static void NT_PRINTF(4) append(char *text, size_t cap, size_t *used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = *used < cap ? vsnprintf(text + *used, cap - *used, format, args) : 0;
    va_end(args);
    if (n > 0) *used += (size_t)n;
}

void nt_console_format(char *text, size_t cap, const nt_console_view *view, int width)
{
    char cells[BAR_CELLS + 1], left[32];
    double part = view->total > 0 ? (double)view->done / (double)view->total : 0;
    int full = (int)(fmin(fmax(part, 0), 1) * BAR_CELLS);
    memset(cells, '-', BAR_CELLS);
    memset(cells, '#', (size_t)full);
    cells[BAR_CELLS] = '\0';
    size_t used = 0;
    if (cap > (size_t)width + 1) cap = (size_t)width + 1;
    append(text, cap, &used, "%s [%s] %lld/%lld", view->what, cells, (long long)view->done,
           (long long)view->total);
    if (!isnan(view->loss)) append(text, cap, &used, "  loss %.4f", view->loss);
    if (!isnan(view->accuracy)) append(text, cap, &used, "  accuracy %.4f", view->accuracy);
    if (!isnan(view->samples_per_s)) append(text, cap, &used, "  %.0f samples/s", view->samples_per_s);
    nt_console_duration(left, sizeof left, view->left_s);
    if (!isnan(view->left_s)) append(text, cap, &used, "  %s left", left);
}

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col - 1;
    return 79;
}

void nt_console_show(const nt_console_view *view)
{
    char bar[256], line[320];
    double now = nt_clock_s();
    if (!console.terminal || now - console.last_s < REDRAW_S) return;
    console.last_s = now;
    nt_console_format(bar, sizeof bar, view, terminal_width());
    int n = snprintf(line, sizeof line, "\r%s%s%s\033[K", console.color ? "\033[36m" : "", bar,
                     console.color ? "\033[0m" : "");
    if (write(STDERR_FILENO, line, (size_t)n) != n) console.terminal = false;
    console.drawn = true;
}

void nt_console_stop(void)
{
    console_wipe();
    console.terminal = false;
    nt_log_set_hook(NULL);
}
