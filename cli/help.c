/* help.c: the table of options.h as help text, as JSON and as completion scripts. */
#include "cli/cli.h"

#include "base/env.h"
#include "cli/table.h"

#include <string.h>

/* The exit codes that are no attnc_status: the others come from its table. */
const ExitCode exit_codes[N_EXIT_CODES] = {
    {0, "success"},
    {1, "a check failed: wrong result, or a finding of the emulator"},
    {2, "the command line is wrong"},
    {3, "a spec is not valid"},
    {4, "valid, but no template, target or size limit allows it"},
    {5, "compilation failed"},
    {6, "no driver or no device"},
    {7, "the driver reported an error"},
    {8, "a file or the cache could not be read or written"},
    {9, "some of several items failed"},
    {124, "a time limit was reached"},
    {130, "interrupted"},
};

static void
put_padded(Str *s, const char *text, int width)
{
  str_put(s, text);
  for (int n = text_columns(text); n < width; n++)
    str_put(s, " ");
}

void
option_left(const Option *o, Str *s)
{
  if (o->letter)
    str_printf(s, "-%c, --%s", o->letter, o->name);
  else
    str_printf(s, "    --%s", o->name);
  if (o->value)
    str_printf(s, " %s", o->value);
}

enum { HELP_COLUMN = 30 };

static void
help_options(int command, Str *s)
{
  str_put(s, "\nOptions:\n");
  for (int i = 0; i < OPT_COUNT; i++) {
    const Option *o = &option_table[i];
    if (!o->text || !option_applies((OptionId)i, command))
      continue;
    Str left = str_new(s->arena);
    option_left(o, &left);
    str_put(s, "  ");
    put_padded(s, left.p, HELP_COLUMN);
    str_printf(s, "%s%s\n", text_columns(left.p) < HELP_COLUMN ? "" : " ", o->text);
  }
}

static void
help_examples(const char *examples, Str *s)
{
  str_put(s, "\nExamples:\n");
  for (const char *p = examples; *p;) {
    size_t n = strcspn(p, "\n");
    str_put(s, "  ");
    str_putn(s, p, n);
    str_put(s, "\n");
    p += n + (p[n] == '\n');
  }
}

static void
help_all(Str *s)
{
  str_put(s, "attnc: attention kernels from specs: check, compile, run, tune\n\n"
             "Usage: attnc COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n");
  for (int i = 0; i < CMD_COUNT; i++)
    if (command_visible(i)) {
      str_put(s, "  ");
      put_padded(s, command_table[i].name, 13);
      str_printf(s, "%s\n", command_table[i].text);
    }
  help_options(-1, s);
  str_put(s, "\nExit codes:\n");
  for (int i = 0; i < N_EXIT_CODES; i++)
    str_printf(s, "  %-4d%s\n", exit_codes[i].code, exit_codes[i].text);
  str_put(s, "\nEnvironment:\n");
  for (int i = 0; i < ENV_COUNT; i++) {
    str_put(s, "  ");
    put_padded(s, env_table[i].name, 22);
    str_printf(s, "%s", env_table[i].text);
    str_printf(s, *env_table[i].initial ? " (%s)\n" : "\n", env_table[i].initial);
  }
  str_put(s, "\nattnc COMMAND --help says more about a command.\n");
}

void
options_help(int command, Str *s)
{
  if (command < 0) {
    help_all(s);
    return;
  }
  const Command *c = &command_table[command];
  str_printf(s, "attnc %s: %s\n\nUsage: attnc %s %s%s[OPTIONS]\n", c->name,
             c->text ? c->text : "", c->name, c->usage, *c->usage ? " " : "");
  help_options(command, s);
  if (c->examples)
    help_examples(c->examples, s);
}

static void
json_field(Str *s, const char *before, const char *name, const char *value)
{
  str_printf(s, "%s\"%s\":", before, name);
  str_json(s, value);
}

static void
json_options(int command, Str *s)
{
  str_put(s, ",\"options\":[");
  const char *sep = "";
  for (int i = 0; i < OPT_COUNT; i++) {
    const Option *o = &option_table[i];
    if (!o->text || !option_applies((OptionId)i, command))
      continue;
    str_put(s, sep);
    json_field(s, "{", "name", o->name);
    if (o->letter)
      str_printf(s, ",\"letter\":\"%c\"", o->letter);
    if (o->value)
      json_field(s, ",", "value", o->value);
    json_field(s, ",", "text", o->text);
    str_put(s, "}");
    sep = ",";
  }
  str_put(s, "]");
}

static void
json_command(int command, Str *s)
{
  const Command *c = &command_table[command];
  json_field(s, "{", "name", c->name);
  json_field(s, ",", "arguments", c->usage);
  json_field(s, ",", "text", c->text ? c->text : "");
  json_options(command, s);
  str_put(s, ",\"examples\":[");
  const char *sep = "";
  for (const char *p = c->examples ? c->examples : ""; *p;) {
    size_t n = strcspn(p, "\n");
    char line[256];
    size_t len = n < sizeof line ? n : sizeof line - 1;
    memcpy(line, p, len);
    line[len] = 0;
    str_put(s, sep);
    str_json(s, line);
    sep = ",";
    p += n + (p[n] == '\n');
  }
  str_put(s, "]}");
}

void
options_help_json(int command, Str *s)
{
  str_put(s, "{\"schema\":\"attnc.help/1\",\"commands\":[");
  const char *sep = "";
  for (int i = 0; i < CMD_COUNT; i++)
    if (command_visible(i) && (command < 0 || i == command)) {
      str_put(s, sep);
      json_command(i, s);
      sep = ",";
    }
  str_put(s, "],\"exit_codes\":[");
  for (int i = 0; i < N_EXIT_CODES; i++) {
    str_printf(s, "%s{\"code\":%d", i ? "," : "", exit_codes[i].code);
    json_field(s, ",", "text", exit_codes[i].text);
    str_put(s, "}");
  }
  str_put(s, "],\"environment\":[");
  for (int i = 0; i < ENV_COUNT; i++) {
    json_field(s, i ? ",{" : "{", "name", env_table[i].name);
    json_field(s, ",", "default", env_table[i].initial);
    json_field(s, ",", "text", env_table[i].text);
    str_put(s, "}");
  }
  str_put(s, "]}\n");
}

/* ---- completion ---- */

static void
second_words(int command, Str *s)
{
  size_t n = strlen(command_table[command].name);
  for (int i = 0; i < CMD_COUNT; i++) {
    const char *name = command_table[i].name;
    if (!strncmp(name, command_table[command].name, n) && name[n] == ' ')
      str_printf(s, "%s ", name + n + 1);
  }
}

static void
words_of(int command, Str *s)
{
  for (int i = 0; i < OPT_COUNT; i++)
    if (option_table[i].text && option_applies((OptionId)i, command))
      str_printf(s, "--%s ", option_table[i].name);
  if (command < 0)
    return;
  second_words(command, s);
  if (command_table[command].words)
    str_put(s, command_table[command].words);
}

/* Rows of a second word, "tune list", are told with the first one's words. */
static bool
is_first_word(int command)
{
  return command_visible(command) && !strchr(command_table[command].name, ' ');
}

static void
command_names(Str *s)
{
  for (int i = 0; i < CMD_COUNT; i++)
    if (is_first_word(i))
      str_printf(s, "%s ", command_table[i].name);
}

static void
field_names(Str *s, const char *after)
{
  size_t i;
  const json_t *f;
  str_printf(s, "template%s", after);
  json_array_foreach((json_t *)(uintptr_t)schedule_fields(), i, f)
      str_printf(s, " %s%s", json_string_value(json_object_get(f, "name")), after);
}

/* bash splits words at `=`: a schedule is what follows --schedule or a field's `=`, and a
 * field's name what follows --schedule, its `=`, or a comma. */
static void
bash_schedule(Str *s)
{
  str_put(s, "  local at=$COMP_CWORD last=${COMP_WORDS[COMP_CWORD-1]} behind\n"
             "  while [ \"$at\" -gt 1 ] && [[ ${COMP_WORDS[at]} != -* ]]; do\n"
             "    at=$((at-1))\n"
             "  done\n"
             "  behind=$((COMP_CWORD-at))\n"
             "  if [[ ${COMP_WORDS[at]} = --schedule && $behind -gt 0 &&\n"
             "        ( $behind = 1 || $last = = || $cur = = ) ]]; then\n"
             "    COMPREPLY=()\n"
             "    [[ $cur = *,* || $behind = 1 || $behind$last = 2= ]] || return\n"
             "    [ \"$cur\" = = ] && cur=\n"
             "    compopt -o nospace 2>/dev/null\n"
             "    COMPREPLY=($(compgen -P \"${cur%\"${cur##*,}\"}\" -W '");
  field_names(s, "=");
  str_put(s, "' -- \"${cur##*,}\"))\n"
             "    return\n"
             "  fi\n");
}

static void
completion_bash(Str *s)
{
  str_put(s, "_attnc() {\n"
             "  local cur=${COMP_WORDS[COMP_CWORD]} words\n");
  bash_schedule(s);
  str_put(s, "  case ${COMP_WORDS[1]} in\n");
  for (int i = 0; i < CMD_COUNT; i++)
    if (is_first_word(i)) {
      str_printf(s, "  %s) words='", command_table[i].name);
      words_of(i, s);
      str_put(s, "' ;;\n");
    }
  str_put(s, "  *) words='");
  command_names(s);
  words_of(-1, s);
  str_put(s, "' ;;\n  esac\n"
             "  [ \"$COMP_CWORD\" = 1 ] && words='");
  command_names(s);
  words_of(-1, s);
  str_put(s, "'\n"
             "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
             "}\n"
             "complete -o default -F _attnc attnc\n");
}

static void
completion_zsh(Str *s)
{
  str_put(s, "#compdef attnc\nif (( CURRENT == 2 )); then\n  compadd -- ");
  command_names(s);
  words_of(-1, s);
  str_put(s, "\n  return\nfi\n"
             "if [[ $words[CURRENT-1] == --schedule ]]; then\n"
             "  compset -P '*,'\n  compadd -q -S = -- ");
  field_names(s, "");
  str_put(s, "\n  return\nfi\ncase $words[2] in\n");
  for (int i = 0; i < CMD_COUNT; i++)
    if (is_first_word(i)) {
      str_printf(s, "%s) compadd -- ", command_table[i].name);
      words_of(i, s);
      str_put(s, ";;\n");
    }
  str_put(s, "esac\n_files\n");
}

/* A single-quoted word of fish: only \ and ' need care. */
static void
fish_quote(Str *s, const char *text)
{
  str_put(s, "'");
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\')
      str_put(s, "\\");
    str_putn(s, text, 1);
  }
  str_put(s, "'");
}

static void
completion_fish(Str *s)
{
  for (int i = 0; i < CMD_COUNT; i++)
    if (is_first_word(i)) {
      str_printf(s, "complete -c attnc -n __fish_use_subcommand -a %s -d ",
                 command_table[i].name);
      fish_quote(s, command_table[i].text);
      str_put(s, "\n");
    }
  for (int i = 0; i < CMD_COUNT; i++) {
    if (!is_first_word(i))
      continue;
    const char *in = command_table[i].name;
    for (int o = 0; o < OPT_COUNT; o++) {
      if (!option_table[o].text || !option_applies((OptionId)o, i))
        continue;
      str_printf(s, "complete -c attnc -n '__fish_seen_subcommand_from %s' -l %s%s -d ", in,
                 option_table[o].name, option_table[o].value ? " -r" : "");
      fish_quote(s, option_table[o].text);
      if (o == OPT_SCHEDULE) {
        str_put(s, " -f -a '");
        field_names(s, "=");
        str_put(s, "'");
      }
      str_put(s, "\n");
    }
    Str words = str_new(s->arena);
    second_words(i, &words);
    if (command_table[i].words || words.n)
      str_printf(s, "complete -c attnc -n '__fish_seen_subcommand_from %s' -f -a '%s'\n",
                 in, words.n ? words.p : command_table[i].words);
  }
}

bool
options_completion(const char *shell, Str *s)
{
  if (str_eq(shell, "bash"))
    completion_bash(s);
  else if (str_eq(shell, "zsh"))
    completion_zsh(s);
  else if (str_eq(shell, "fish"))
    completion_fish(s);
  else
    return false;
  return true;
}
