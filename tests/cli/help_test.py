"""Help, completion and the pages of the documentation that are made of them: goldens in
golden/, rewritten by UPDATE=1."""
import os
import re
import subprocess

from common import SOURCE, Case, main

COMMANDS = ("check compile run tune explain tiles key doctor cache pack device targets schema bench completion "
            "help version").split()
TABLES = [f"tune {word}" for word in "list export import merge forget".split()]
at = COMMANDS.index("tune") + 1
COMMANDS[at:at] = TABLES
GOLDEN = os.path.join(SOURCE, "tests", "cli", "golden")
PAGE = os.path.join(SOURCE, "docs", "cli.md")


class Help(Case):
    def golden(self, name, text):
        path = os.path.join(GOLDEN, name)
        if os.environ.get("UPDATE"):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), text, f"UPDATE=1 rewrites {path}")

    def test_texts(self):
        self.golden("help.txt", self.attnc("--help").stdout)
        for c in COMMANDS:
            name = c.replace(" ", "_")
            self.golden(f"help_{name}.txt", self.attnc(*c.split(), "--help").stdout)

    def test_json_says_the_same(self):
        j = self.json("--help")
        self.assertEqual([c["name"] for c in j["commands"]], COMMANDS)
        for c in j["commands"]:
            text = self.attnc(*c["name"].split(), "-h").stdout
            for o in c["options"]:
                self.assertIn(f"--{o['name']}", text)
                self.assertIn(o["text"], text)
            self.assertEqual([c], self.json(*c["name"].split(), "--help")["commands"])
        self.assertEqual([e["code"] for e in j["exit_codes"]],
                         [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 124, 130])

    def test_every_example_names_a_known_command_and_options(self):
        for c in self.json("--help")["commands"]:
            self.assertTrue(c["examples"], c["name"])
            known = {f"--{o['name']}" for o in c["options"]}
            for example in c["examples"]:
                self.assertTrue(example.startswith(f"attnc {c['name']}"), example)
                for word in re.findall(r"--[a-z-]+", example):
                    self.assertIn(word, known, example)
                for path in re.findall(r"specs/\w[^ ]+", example):
                    self.assertTrue(os.path.exists(os.path.join(SOURCE, path)), example)

    def test_version(self):
        self.assertRegex(self.attnc("--version").stdout, r"\Aattnc \d+\.\d+\.\d+\n\Z")
        self.assertRegex(self.json("-V")["version"], r"\A\d+\.\d+\.\d+\Z")

    def test_as_commands(self):
        for args, same in ((["help"], ["--help"]), (["help", "run"], ["run", "--help"]),
                           (["help", "tune", "list"], ["tune", "list", "-h"]),
                           (["version"], ["--version"]), (["help", "--json"], ["-h", "--json"]),
                           (["help", "run", "--json"], ["run", "-h", "--json"]),
                           (["version", "--json"], ["-V", "--json"])):
            self.assertEqual(self.attnc(*args).stdout, self.attnc(*same).stdout)
        self.assertIn("unknown command run run", self.attnc("help", "run", "run", code=2).stderr)

    def test_manual_page(self):
        """Every command and option of the table is on it, and nothing that roff takes for a request."""
        page = self.attnc("help", "--man").stdout
        for c in self.json("--help")["commands"]:
            self.assertIn(f".SS attnc {c['name']}", page)
            for o in c["options"]:
                self.assertIn(f"\\-\\-{o['name']}".replace("-", "\\-").replace("\\\\", "\\"), page)
        requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        self.assertEqual(requests, {".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".RS", ".RE"})
        self.assertNotIn("tune-worker", page)
        for wrong in (["run"], ["--json"]):
            self.assertIn("all commands", self.attnc("help", "--man", *wrong, code=2).stderr +
                          self.attnc("help", "--man", *wrong, code=2).stdout)

    def test_hidden_things_stay_hidden(self):
        everything = "".join(self.attnc(c, "--help").stdout for c in COMMANDS)
        everything += self.attnc("--help").stdout
        self.assertNotIn("tune-worker", everything)
        self.assertNotIn("--inject", everything)


class Completion(Case):
    def test_bash_completes(self):
        script = self.attnc("completion", "bash").stdout
        probe = ("\nCOMP_WORDS=(attnc %s); COMP_CWORD=%d; _attnc; "
                 "printf '%%s\\n' \"${COMPREPLY[@]}\"\n")

        def complete(words, at):
            return subprocess.run(["bash", "-c", script + probe % (words, at)], check=True,
                                  text=True, capture_output=True).stdout.split()

        self.assertEqual(complete("comp", 1), ["compile", "completion"])
        self.assertEqual(complete("run --ver", 2), ["--verify", "--version"])
        self.assertEqual(complete("cache ve", 2), ["verify"])
        at = "run --schedule "  # words as bash splits them: at each `=`
        self.assertEqual(complete(at + "num_", 3), ["num_stages=", "num_warps="])
        self.assertEqual(complete(at + "block_m = 64,pi", 5), ["64,pingpong="])
        self.assertEqual(complete("run --schedule = sch", 4), ["scheduler="])
        self.assertEqual(len(complete("run --schedule =", 3)), 44)
        self.assertEqual(complete(at + "block_m =", 4), [])
        self.assertEqual(complete(at + "block_m = 6", 5), [])
        self.assertEqual(complete(at + "block_m = 64 --ver", 6), ["--verify", "--version"])
        self.assertEqual(complete("run --sch", 2), ["--schedule"])

    def test_shells_parse_it(self):
        for shell, args in (("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["-n"])):
            script = self.write(shell, self.attnc("completion", shell).stdout)
            try:
                subprocess.run([shell, *args, script], check=True)
            except FileNotFoundError:
                if shell == "bash":
                    raise
        self.attnc("completion", "tcsh", code=2)
        self.assertIn("_attnc", self.json("completion", "bash")["script"])


def cell(text):
    """A bar would end the cell."""
    return text.replace("|", "\\|")


def option_table(command):
    rows = ["| option | what it does |", "|---|---|"]
    for o in command["options"]:
        letter = f"-{o['letter']}, " if "letter" in o else ""
        value = f" {o['value']}" if "value" in o else ""
        rows.append(f"| `{cell(letter + '--' + o['name'] + value)}` | {cell(o['text'])} |")
    return rows


class Page(Case):
    """docs/cli.md: the tables of options and exit codes."""

    def fill(self, lines, help_json):
        """The page with the right tables in the places for them."""
        commands = {c["name"]: c for c in help_json["commands"]}
        tables = {f"<!-- options: {name} -->": option_table(c) for name, c in commands.items()}
        tables["| exit code | meaning |"] = ["|---|---|"] + [
            f"| {e['code']} | {e['text']} |" for e in help_json["exit_codes"]]
        out, seen, skip = [], [], False
        for line in lines:
            skip = skip and line.startswith("|")
            if not skip:
                out.append(line)
            if line in tables:
                seen.append(line)
                out += tables[line]
                skip = True
        self.assertEqual(sorted(seen), sorted(tables))
        return out

    def test_tables(self):
        with open(PAGE, encoding="utf-8") as f:
            old = f.read()
        new = "\n".join(self.fill(old.split("\n"), self.json("--help")))
        if os.environ.get("UPDATE"):
            with open(PAGE, "w", encoding="utf-8") as f:
                f.write(new)
        else:
            self.assertEqual(old, new, f"UPDATE=1 rewrites {PAGE}")


if __name__ == "__main__":
    main()
