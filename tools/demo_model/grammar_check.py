"""Tells whether a story can be derived from the story grammar: one theme, its steps in order, the same hero, name, pronouns,
helper, thing, food and places throughout. Sentences of the grammar are grammatical, so a derivable story is.
"""

import functools
import re

import story_words as words
from story_grammar import with_article
from story_plots import DAY, OPENINGS, PLOTS


def _any(values):
    return "|".join(re.escape(v) for v in sorted(set(values), key=len, reverse=True))


def _both(field):
    return _any(words.WORLDS["land"][field] + words.WORLDS["sea"][field])


@functools.lru_cache(maxsize=None)
def _choices(slot):
    """Regular expression of what may stand in an unbound slot."""
    if slot in ("l1", "l2", "l3"):
        return _both("spots")
    if slot in ("weather", "weather2"):
        return _any(words.WEATHERS)
    field = {"home": "homes", "food": "foods", "skill": "skills", "trap": "traps", "tool": "tools", "hobby": "hobbies",
             "hobby2": "hobbies"}.get(slot, slot)
    if field in words.WORLDS["land"]:
        return _both(field)
    return {"N": "[A-Z][a-z]+", "h": "[a-z]+", "adj": _any(words.ADJECTIVES), "adj2": _any(words.MOODS),
            "day": _any(words.DAYTIMES), "color": _any(words.COLORS), "obj": _any(words.OBJECTS),
            "fragile": _any(words.FRAGILE), "shiny": _any(words.SHINY), "fear": _any(words.FEARS), "game": _any(words.GAMES),
            "helper_adj": _any(words.HELPER_ADJECTIVES), "helper_name": "[A-Z][a-z]+"}[slot]


_SAME = {"home2": "home", "Home": "home", "He": "he", "His": "his", "a_adj_a": "an? {adj} {a}", "any_a": "an? {a}",
         "aH": "an? {helper_adj} {h}(?: named {helper_name})?", "AH": "an? {helper_adj} {h}(?: named {helper_name})?",
         "s": "(?:the {a}|{N})", "S": "(?:the {a}|{N})"}


def _pattern(template, bound):
    """The template as a regular expression; slots that are bound already must be filled with the same words."""
    parts, seen = [], set()

    def fill(text, literal):
        for piece in re.split(r"(\{\w+\})", text):
            slot = piece[1:-1] if piece.startswith("{") else None
            if slot is None:
                parts.append(re.escape(piece) if literal else piece)
            elif slot == "D":
                parts.append("(?:")
                for index, day in enumerate(DAY):
                    parts.append("|" if index else "")
                    fill_day = re.sub(r"\{(\w+)\}", lambda m: f"(?:{_choices(m.group(1))})", day)
                    parts.append(fill_day)
                parts.append(")")
            elif slot in _SAME and "{" in _SAME[slot]:
                fill(_SAME[slot], False)
            else:
                slot = _SAME.get(slot, slot)
                if slot in bound:
                    parts.append(re.escape(bound[slot]))
                elif slot in seen:
                    parts.append(f"(?P={slot})")
                elif slot == "helper_name":
                    parts.append("[A-Z][a-z]+")
                else:
                    seen.add(slot)
                    parts.append(f"(?P<{slot}>{_choices(slot)})")
    fill(template, True)
    return re.compile("".join(parts) + r"(?: |$)", re.IGNORECASE)


def _derive(text, steps, bound):
    if not text:
        return all(None in step for step in steps)
    if not steps:
        return False
    for template in steps[0]:
        if template is None:
            continue
        match = _pattern(template, bound).match(text)
        if match and (text[0].isupper() or text[0] == '"'):
            found = {k: v.lower() if k == "home" else v for k, v in match.groupdict().items()
                     if v is not None and k not in ("adj", "adj2", "day", "move", "helper_adj")}
            if _derive(text[match.end():], steps[1:], {**bound, **found}):
                return True
    return None in steps[0] and _derive(text, steps[1:], bound)


def theme_of(text, hero):
    """The theme under which the story about the hero (a noun) can be derived, or None."""
    if re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeioAEIO]", text.replace(with_article(hero), "").replace("an honest", "")):
        return None
    ending = [[None] + words.ENDINGS, [None, "The end."]]
    for theme, plot in PLOTS.items():
        steps = OPENINGS + [words.THANKS if step == "THANKS" else step for step in plot] + ending
        for he, him, his in (("he", "him", "his"), ("she", "her", "her")):
            if _derive(text, steps, {"a": hero, "he": he, "him": him, "his": his}):
                return theme
    return None


def problems(text, hero, least_mentions=2):
    """What is wrong with a story about the hero, as a list of words; empty = accepted."""
    from story_grammar import mentions, repeated_ngram
    found = []
    if mentions(text.lower(), hero) < least_mentions:
        found.append("hero not named")
    if repeated_ngram(text):
        found.append("repeats: " + repeated_ngram(text))
    if theme_of(text, hero) is None:
        found.append("not derivable")
    return found


def main():
    """Checks the checker against the grammar: every story derivable, no story with one sentence of another theme."""
    import random
    from story_grammar import Story, repeated_ngram
    for number in range(500):
        story = Story(random.Random(f"check/{number}"))
        assert theme_of(story.text, story.hero) == story.theme, story.text
        assert not repeated_ngram(story.text), story.text
        sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", story.text)
        other = Story(random.Random(f"other/{number}"), hero=story.hero, name=story.name)
        if other.theme != story.theme:
            middle = len(sentences) // 2
            mixed = " ".join(sentences[:middle] + re.split(r"(?<=[.!?]) (?=[A-Z])", other.text)[middle:])
            assert theme_of(mixed, story.hero) is None, mixed
    print("500 passed, 0 failed")


if __name__ == "__main__":
    main()
