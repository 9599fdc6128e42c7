/* out.c: where the words of the commands go. */
#include "cli/cli.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
say(const Cli *c, const char *color, const char *kind, const char *text)
{
  if (c->color)
    fprintf(stderr, "attnc: \033[%sm%s\033[0m%s\n", color, kind, text);
  else
    fprintf(stderr, "attnc: %s%s\n", kind, text);
}

json_t *
cli_text(const char *text)
{
  json_t *j = json_string(text);
  char *escaped = j || !text ? NULL : malloc(4 * strlen(text) + 1), *to = escaped;
  if (!escaped)
    return j ? j : json_null();
  for (const char *p = text; *p; p++)
    to += (unsigned char)*p < 0x80 ? sprintf(to, "%c", *p)
                                   : sprintf(to, "\\x%02x", (unsigned char)*p);
  *to = 0;
  j = json_string(escaped);
  free(escaped);
  return j;
}

json_t *
cli_error_json(const attnc_error *e)
{
  json_t *j = json_pack("{s:s, s:i, s:o}", "status", attnc_status_name(e->status), "exit",
                        err_exit_code(e->status), "message", cli_text(e->message));
  if (j && e->driver_code)
    json_object_set_new(j, "driver_code", json_integer(e->driver_code));
  return j;
}

int
cli_error(const Cli *c, const attnc_error *e)
{
  say(c, "1;31", "error: ", e->message);
  if (c->json) {
    json_t *j = cli_error_json(e);
    json_object_set_new(j, "schema", json_string("attnc.error/1"));
    cli_json(j);
  }
  return err_exit_code(e->status);
}

int
cli_fail(const Cli *c, attnc_status st, const char *fmt, ...)
{
  char text[504];
  attnc_error e;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  err_set(&e, st, "%s", text);
  return cli_error(c, &e);
}

void
cli_warn(const Cli *c, const char *fmt, ...)
{
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  say(c, "1;31", "error: ", text);
}

void
cli_note(const Cli *c, const char *fmt, ...)
{
  char text[1024];
  if (c->quiet)
    return;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  say(c, "2", "", text);
}

void
cli_print(const char *text)
{
  fputs(text, stdout);
}

void
cli_json(json_t *j)
{
  json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
  fputc('\n', stdout);
  json_decref(j);
}

void
tally_add(Tally *t, int code)
{
  t->good += !code;
  t->bad += code != 0;
  t->code = t->code ? t->code : code;
}

int
tally_code(const Tally *t)
{
  return t->good && t->bad ? EXIT_PARTIAL : t->code;
}
