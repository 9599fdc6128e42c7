#include "cli/options.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

const Command command_table[CMD_COUNT] = {
#define X(id, name, usage, least, most, words, text, examples)                             \
  {name, usage, least, most, words, text, examples},
    COMMAND_TABLE(X)
#undef X
};

const Option option_table[OPT_COUNT] = {
#define X(id, name, letter, value, commands, text) {name, letter, value, commands, text},
    OPTION_TABLE(X)
#undef X
};

bool
command_visible(int command)
{
  return command >= 0 && command_table[command].text != NULL;
}

bool
option_applies(OptionId id, int command)
{
  const Option *o = &option_table[id];
  return command < 0 ? o->commands == CMD_ALL : (o->commands >> command & 1u) != 0;
}

bool
options_has(const Options *o, OptionId id)
{
  return o->value[id] != NULL;
}

attnc_status
options_int(const Options *o, OptionId id, int64_t initial, int64_t least, int64_t most,
            int64_t *out, attnc_error *e)
{
  *out = initial;
  const char *text = o->value[id];
  if (!text)
    return ATTNC_OK;
  const char *end = text;
  int64_t v;
  if (!str_whole(&end, &v) || *end || v < least || v > most)
    return err_set(e, ATTNC_ERR_USAGE, "--%s: %s is not an integer from %lld to %lld",
                   option_table[id].name, text, (long long)least, (long long)most);
  *out = v;
  return ATTNC_OK;
}

/* The row for a long name or a letter, -1 if the command takes none of that name. */
static int
find_option(const char *name, size_t n, char letter, int command)
{
  for (int i = 0; i < OPT_COUNT; i++) {
    const Option *o = &option_table[i];
    if (!option_applies((OptionId)i, command))
      continue;
    if (letter ? o->letter == letter : strlen(o->name) == n && !memcmp(o->name, name, n))
      return i;
  }
  return -1;
}

static attnc_status
unknown_option(const char *arg, size_t n, int command, attnc_error *e)
{
  const char *names[OPT_COUNT];
  int count = 0;
  for (int i = 0; i < OPT_COUNT; i++)
    if (option_applies((OptionId)i, command) && option_table[i].text)
      names[count++] = option_table[i].name;
  char word[64];
  size_t len = n < sizeof word ? n : sizeof word - 1;
  memcpy(word, arg, len);
  word[len] = 0;
  const char *near = str_nearest(word + strspn(word, "-"), names, count);
  const char *of = command < 0 ? "" : command_table[command].name;
  if (near)
    return err_set(e, ATTNC_ERR_USAGE, "unknown option %s; did you mean --%s?", word, near);
  return err_set(e, ATTNC_ERR_USAGE, "unknown option %s; attnc %s%s--help lists them", word,
                 of, *of ? " " : "");
}

int
command_named(const char *name, attnc_error *e)
{
  for (int i = 0; i < CMD_COUNT; i++)
    if (str_eq(command_table[i].name, name))
      return i;
  const char *names[CMD_COUNT];
  int count = 0;
  for (int i = 0; i < CMD_COUNT; i++)
    if (command_visible(i))
      names[count++] = command_table[i].name;
  const char *near = str_nearest(name, names, count);
  if (near)
    err_set(e, ATTNC_ERR_USAGE, "unknown command %.64s; did you mean %s?", name, near);
  else
    err_set(e, ATTNC_ERR_USAGE, "unknown command %.64s; attnc --help lists them", name);
  return -1;
}

/* "list" behind tune: the row of "tune list"; -1: there is none. */
static int
command_within(int command, const char *word)
{
  const char *first = command_table[command].name;
  size_t n = strlen(first);
  for (int i = 0; i < CMD_COUNT; i++) {
    const char *name = command_table[i].name;
    if (str_starts(name, first) && name[n] == ' ' && str_eq(name + n + 1, word))
      return i;
  }
  return -1;
}

typedef struct Cursor {
  int argc, at;
  char **argv;
} Cursor;

/* One option at c->at: a long one, or a single letter with its value behind it. */
static attnc_status
take_option(Cursor *c, Options *out, attnc_error *e)
{
  const char *arg = c->argv[c->at++];
  bool is_long = arg[1] == '-';
  const char *name = arg + 2;
  const char *eq = is_long ? strchr(name, '=') : NULL;
  size_t n = eq ? (size_t)(eq - name) : strlen(name);
  int id = find_option(name, n, is_long ? 0 : arg[1], out->command);
  const char *inside = is_long ? (eq ? eq + 1 : NULL) : (arg[2] ? arg + 2 : NULL);
  if (id < 0)
    return unknown_option(arg, eq ? (size_t)(eq - arg) : strlen(arg), out->command, e);
  const Option *o = &option_table[id];
  if (!o->value) {
    if (inside)
      return err_set(e, ATTNC_ERR_USAGE, "--%s takes no value", o->name);
    out->value[id] = "";
    return ATTNC_OK;
  }
  if (!inside && c->at < c->argc)
    inside = c->argv[c->at++];
  if (!inside || !*inside)
    return err_set(e, ATTNC_ERR_USAGE, "--%s needs a value: %s", o->name, o->value);
  out->value[id] = inside;
  return ATTNC_OK;
}

static bool
word_in(const char *words, const char *word)
{
  size_t n = strlen(word);
  for (const char *p = words; p && *p; p += strspn(p, " ")) {
    size_t len = strcspn(p, " ");
    if (len == n && !memcmp(p, word, n))
      return true;
    p += len;
  }
  return false;
}

static attnc_status
check_arguments(const Options *o, attnc_error *e)
{
  const Command *c = &command_table[o->command];
  if (o->n_args < c->least)
    return err_set(e, ATTNC_ERR_USAGE, "attnc %s needs %s", c->name, c->usage);
  if (c->most >= 0 && o->n_args > c->most)
    return err_set(e, ATTNC_ERR_USAGE, "attnc %s: one argument too many: %.200s", c->name,
                   o->args[c->most]);
  if (c->words && !word_in(c->words, o->args[0]))
    return err_set(e, ATTNC_ERR_USAGE, "attnc %s: %.64s is not one of %s", c->name,
                   o->args[0], c->words);
  return ATTNC_OK;
}

attnc_status
options_parse(int argc, char **argv, Arena *arena, Options *out, attnc_error *e)
{
  *out = (Options){.command = -1};
  out->args = NEW_N(arena, const char *, argc + 1);
  Cursor c = {argc, 1, argv};
  bool ended = false;
  int second;
  while (c.at < argc) {
    const char *arg = argv[c.at];
    if (!ended && str_eq(arg, "--")) {
      ended = true;
      c.at++;
    } else if (!ended && arg[0] == '-' && arg[1]) {
      TRY(take_option(&c, out, e));
    } else if (out->command < 0) {
      if ((out->command = command_named(arg, e)) < 0)
        return ATTNC_ERR_USAGE;
      c.at++;
    } else if (!ended && !out->n_args &&
               (second = command_within(out->command, arg)) >= 0) {
      out->command = second;
      c.at++;
    } else {
      out->args[out->n_args++] = arg;
      c.at++;
    }
  }
  if (options_has(out, OPT_HELP) || options_has(out, OPT_VERSION))
    return ATTNC_OK;
  if (out->command < 0)
    return err_set(e, ATTNC_ERR_USAGE, "no command; attnc --help lists them");
  return check_arguments(out, e);
}
