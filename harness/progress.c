/* The progress bar (progress.h). */
#include "progress.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"

enum { BAR = 24 };
#define TERMINAL_EVERY_NS 100000000ull
#define LOG_EVERY_NS 15000000000ull

static struct {
	double total;
	uint64_t start_ns, shown_ns;
	bool terminal, visible;
} state;

void ldb_progress_start(double total)
{
	state.total = total;
	state.start_ns = state.shown_ns = ldb_now_ns();
	state.terminal = isatty(STDERR_FILENO);
	state.visible = false;
}

static void duration(double seconds, char *buf, size_t size)
{
	if (seconds >= 3600)
		snprintf(buf, size, "%dh%02dm", (int)(seconds / 3600), (int)(seconds / 60) % 60);
	else
		snprintf(buf, size, "%d:%02d", (int)(seconds / 60), (int)seconds % 60);
}

static void wipe(void)
{
	if (state.visible)
		fputs("\r\033[K", stderr);
	state.visible = false;
}

void ldb_progress(double done, const char *what)
{
	uint64_t now = ldb_now_ns();
	if (now - state.shown_ns < (state.terminal ? TERMINAL_EVERY_NS : LOG_EVERY_NS))
		return;
	state.shown_ns = now;
	double share = state.total > 0 ? done / state.total : 0;
	share = share > 1 ? 1 : share;
	double elapsed = (double)(now - state.start_ns) / 1e9;
	char spent[32], left[32] = "?";
	duration(elapsed, spent, sizeof spent);
	if (share > 0.01)
		duration(elapsed / share - elapsed, left, sizeof left);
	if (!state.terminal) {
		fprintf(stderr, "%3.0f%%  %s elapsed, %s left  %s\n", 100 * share, spent, left,
			what);
		return;
	}
	struct winsize window = {.ws_col = 80};
	ioctl(STDERR_FILENO, TIOCGWINSZ, &window);
	char bar[BAR + 1], text[256];
	memset(bar, '.', BAR);
	bar[BAR] = '\0';
	memset(bar, '#', (size_t)(share * BAR));
	snprintf(text, sizeof text, "[%s] %3.0f%% %s, %s left  %s", bar, 100 * share, spent, left,
		 what);
	int columns = window.ws_col > 20 ? window.ws_col - 1 : 79;
	fprintf(stderr, "\r\033[K%.*s", columns, text);
	state.visible = true;
}

void ldb_say(const char *format, ...)
{
	va_list args;
	wipe();
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void ldb_progress_end(void)
{
	wipe();
}
