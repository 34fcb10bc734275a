"""Makes up simple stories from the grammar in stories.txt: any number, all different.

It knows the grammar's brackets and fills in people, places and things, each the same
throughout a story. What the stories tell is in stories.txt and words.txt.
"""

import pathlib
import re

HERE = pathlib.Path(__file__).parent
INNERMOST = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")
PRONOUNS = {"she": ("she", "her", "her"), "he": ("he", "him", "his")}


def read_grammar():
    """Returns the sections of stories.txt: a name -> a list of lists of lines."""
    sections = {}
    for line in (HERE / "stories.txt").read_text().splitlines():
        if line.startswith("=="):
            lines = []
            sections.setdefault(line[2:].strip(), []).append(lines)
        elif line and not line.startswith("#"):
            lines.append(line)
    return sections


def read_words():
    """Returns the lists of words.txt: a name -> its choices, in a table a dict of slots each."""
    words = {}
    for line in (HERE / "words.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, choices = line.split(":", 1)
            name, _, slots = name.partition(" ")
            words[name] = [choice.strip() for choice in choices.split(";")]
            if slots:
                slots = slots.split("/")
                words[name] = [dict(zip(slots, c.split("/"), strict=True)) for c in words[name]]
    return words


GRAMMAR = read_grammar()
WORDS = read_words()


def make_person(chooser, taken=""):
    """Returns kind, name and gender of somebody whose name is not `taken`."""
    group = chooser.choice(["she", "he", "any"])
    gender = chooser.choice(["she", "he"]) if group == "any" else group
    kind = chooser.choice(WORDS["kinds_" + group])
    if " " not in kind and chooser.random() < 0.8:
        kind = chooser.choice(WORDS["looks"]) + " " + kind
    name = chooser.choice([n for n in WORDS["names_" + gender] if n != taken])
    return "a " + kind, name, gender


def fill_slots(chooser):
    """Returns the words of one story: a slot -> its text."""
    slots = {}
    for word in ("thing", "at_home", "skill", "food", "colour", "hours"):
        slots[word] = chooser.choice(WORDS[word])
    for table in ("elders", "places", "capitals", "trades", "beasts", "seasons", "dishes"):
        slots |= chooser.choice(WORDS[table])
    slots["a_thing"] = f"a {chooser.choice(WORDS['quality'])} {slots['thing']}"

    named = chooser.choice(["named", "called", "whose name was"])
    kind, hero, gender = make_person(chooser)
    he, him, his = PRONOUNS[gender]
    slots |= {"hero": hero, "a_kind": kind, "a_hero": f"{kind} {named} {hero}",
              "A_hero": f"A{kind[1:]} {named} {hero}", "he": he, "him": him, "his": his,
              "He": he.capitalize(), "His": his.capitalize()}

    kind, friend, gender = make_person(chooser, taken=hero)
    he_f, him_f, his_f = PRONOUNS[gender]
    slots |= {"friend": friend, "a_kind_f": kind, "a_friend": f"{kind} {named} {friend}",
              "fhim": him_f, "fhis": his_f, "He_f": he_f.capitalize()}

    elder = slots["elder"].replace("HIS", his)
    ehe, ehim, ehis = PRONOUNS[slots["gender"]]
    slots |= {"elder": elder, "elder_cap": elder[0].upper() + elder[1:],
              "ehe": ehe, "ehim": ehim, "ehis": ehis}

    she, _, her = PRONOUNS[chooser.choice(["she", "he"])]
    return slots | {"She_t": she.capitalize(), "her_t": her}


def said(chooser, before, subject):
    """Returns "said Anna" or the like, fit for the speech that `before` ends with."""
    verbs = {"?": ["asked", "asked", "said"], "!": ["cried", "called", "said"]}.get(
        before.rstrip('" ')[-1:], ["said"])
    return f"{chooser.choice(verbs)} {subject}"


def expand(chooser, line, slots):
    """Returns the line with its choices made and its slots filled."""
    while match := INNERMOST.search(line):
        line = line[:match.start()] + chooser.choice(match[1].split("|")) + line[match.end():]
    while match := SLOT.search(line):
        word, before = match[1], line[:match.start()]
        if word.startswith("said_"):
            text = said(chooser, before, slots[word.removeprefix("said_")])
        else:
            text = slots[word]
        line = before + text + line[match.end():]
    return line


def expand_all(chooser, lines, slots):
    """Returns the steps of a plot or a text, without those that are left out this time."""
    kept = [line for line in lines if line[0] != "?" or chooser.random() < 0.5]
    return ["\n" if line == "-" else expand(chooser, line.lstrip("?"), slots) for line in kept]


def finish(steps):
    """Returns the steps as one text with its capitals, its "an" and its spaces in place."""
    text = re.sub(r" +", " ", " ".join(steps))
    text = re.sub(r" ?\n ?", "\n", text).strip()
    text = re.sub(r" ([,.])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou])(?!uni|use|one)", r"\1n ", text)
    # After a quotation that ends in ? or ! its speaker follows, in small letters.
    return re.sub(r'(^|[.!?] |\." |\n)("?)([a-z])', lambda m: m[1] + m[2] + m[3].upper(), text)


def make_story(chooser):
    """Returns a story or, now and then, something shorter; `chooser` is a random.Random."""
    kind = chooser.choices(["plot", "diary", "facts"], [0.75, 0.12, 0.13])[0]
    if kind != "plot":
        texts = chooser.sample(GRAMMAR[kind], chooser.randint(1, 3))
        return "\n".join(finish(expand_all(chooser, t, fill_slots(chooser))) for t in texts)
    slots = fill_slots(chooser)
    (openings,), (traits,), (endings,) = GRAMMAR["opening"], GRAMMAR["trait"], GRAMMAR["ending"]
    steps = [chooser.choice(openings), *chooser.sample(traits, chooser.randint(0, 2)), "-",
             *chooser.choice(GRAMMAR["plot"])]
    if chooser.random() < 0.5:
        steps.append(chooser.choice(endings))
    return finish(expand_all(chooser, steps, slots))
