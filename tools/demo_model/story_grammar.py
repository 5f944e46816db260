"""Makes the training text of the demo model: children's stories from a grammar of ours, deterministic by seed.

`python3 story_grammar.py --seed 1 --n 5` prints samples; chat samples come from chat_samples.py. A story whose hero,
name and
home fall into the held-out tenth (by checksum) is made only for the split "held".
"""

import argparse
import random
import re
import zlib

import story_words as words
from story_plots import DAY, OPENINGS, PLOTS

WORLD_OF = {animal.noun: animal.world for animal in words.ANIMALS}
WORLD_OF.update({noun: "sea" for noun in words.SEA_OTHERS})
LAND_HELPERS = [a.noun for a in words.ANIMALS if a.world == "land"] + ["girl", "boy", "farmer", "fairy", "gnome", "robot",
                                                                       "dragon"]
SEA_HELPERS = [a.noun for a in words.ANIMALS if a.world == "sea"] + ["mermaid"]
KNOWN = set(WORLD_OF) | set(words.OTHER_HEROES)
FAVOURITE = 0.35    # how often a known hero gets its favourite: so that a greedy model tells each hero's own story


def with_article(phrase):
    """'a' or 'an' by the first letter; words such as unicorn sound like 'you'."""
    vowel = phrase[0].lower() in "aeiou" and not phrase.lower().startswith(("unicorn", "use", "one"))
    return ("an " if vowel else "a ") + phrase


def capital(text):
    return text[:1].upper() + text[1:]


def made_up_word(rng):
    """A noun that nobody has heard of, so that copying from the question must be learnt letter by letter."""
    if rng.random() < 0.65:
        start = "" if rng.random() < 0.1 else rng.choice(words.ONSETS)
        word = start + rng.choice(words.VOWELS if start else "aeio")
        for _ in range(rng.choice([1, 1, 2, 2, 3])):
            word += rng.choice(words.MIDDLES) + rng.choice(words.VOWELS)
        return word + rng.choice(words.CODAS)
    return "".join(rng.sample(words.SYLLABLES, rng.choice([1, 1, 2]))) + rng.choice(words.SYLLABLE_ENDS)


def random_hero(rng):
    """A noun for the hero: mostly animals, then people and things, then made-up words."""
    kind = rng.random()
    if kind < 0.62:
        return rng.choice(words.ANIMALS).noun
    if kind < 0.80:
        return rng.choice(words.OTHER_HEROES + words.SEA_OTHERS)
    return made_up_word(rng)


def random_name(rng, hero):
    """(name, pronouns): he him his or she her her."""
    female = hero in words.SHE_NOUNS or (hero not in words.HE_NOUNS and rng.random() < 0.5)
    name = rng.choice(words.NAMES_SHE if female else words.NAMES_HE)
    if rng.random() < 0.06:
        name = capital(made_up_word(rng))
    return name, ("she", "her", "her") if female else ("he", "him", "his")


def held_out(hero, name, home):
    return zlib.crc32(f"{hero}/{name}/{home}".encode()) % 10 == 0


def mentions(text, noun):
    return len(re.findall(rf"\b{re.escape(noun)}\b", text))


def repeated_ngram(text, n=8):
    """The first n words in a row that occur twice in the text, or None. Case and punctuation do not count."""
    plain = re.findall(r"[a-z0-9'-]+", text.lower())
    seen = set()
    for i in range(len(plain) - n + 1):
        gram = tuple(plain[i:i + n])
        if gram in seen:
            return " ".join(gram)
        seen.add(gram)
    return None


class Story:
    """Fields: text, hero, helper, name, theme, home. The given ones are kept, the others drawn."""

    def __init__(self, rng, split="train", hero=None, helper=None, name=None, theme=None):
        while True:
            self.hero = hero or random_hero(rng)
            world = words.WORLDS[WORLD_OF.get(self.hero, "land")]
            self.home = self._choose(rng, "home", world["homes"])
            own = random.Random("name of " + self.hero) if self.hero in KNOWN and rng.random() < FAVOURITE else rng
            self.name, self.pronouns = random_name(own, self.hero)
            self.name = name or self.name
            if held_out(self.hero, self.name, self.home) != (split == "held"):
                continue
            others = LAND_HELPERS if world is words.WORLDS["land"] else SEA_HELPERS
            self.theme = theme or self._choose(rng, "theme", sorted(PLOTS))
            if self.theme == "finding the way home":
                others = [noun for noun in others if noun in WORLD_OF]
            self.helper = helper or self._choose(rng, "helper", [noun for noun in others if noun != self.hero])
            self.text = self._write(rng, world)
            if not repeated_ngram(self.text) and mentions(self.text, self.hero) >= 3:
                return

    def _choose(self, rng, kind, values):
        """One of the values; for a known hero more often the one that its name and the kind of choice point to."""
        if self.hero in KNOWN and rng.random() < FAVOURITE:
            return values[zlib.crc32(f"{self.hero}/{kind}".encode()) % len(values)]
        return rng.choice(values)

    def _slots(self, rng, world):
        he, him, his = self.pronouns
        spots = rng.sample(world["spots"], 3)
        hobby = self._choose(rng, "hobby", world["hobbies"])
        hobby2 = rng.choice([word for word in world["hobbies"] if word != hobby])
        adjective = self._choose(rng, "adjective", words.ADJECTIVES)
        mood = rng.choice([word for word in words.MOODS if word != adjective])
        weathers = rng.sample(words.WEATHERS, 2)
        home = self.home
        helper_adjective = self._choose(rng, "helper adjective", words.HELPER_ADJECTIVES)
        helper = with_article(f"{helper_adjective} {self.helper}")
        if rng.random() < 0.15:
            helper_name = rng.choice([n for n in words.NAMES_HE + words.NAMES_SHE if n != self.name])
            helper += f" named {helper_name}"
        slots = dict(N=self.name, a=self.hero, he=he, him=him, his=his, He=capital(he), His=capital(his), aH=helper,
                     AH=capital(helper), any_a=with_article(self.hero), h=self.helper, home=home, home2=home,
                     Home=capital(home), a_adj_a=with_article(f"{adjective} {self.hero}"), adj2=mood, hobby=hobby,
                     hobby2=hobby2, weather=weathers[0], weather2=weathers[1], day=rng.choice(words.DAYTIMES),
                     l1=spots[0], l2=spots[1], l3=spots[2])
        for slot, choices in dict(color=words.COLORS, obj=words.OBJECTS, fragile=words.FRAGILE, shiny=words.SHINY,
                                  fear=words.FEARS, game=words.GAMES, food=world["foods"], skill=world["skills"],
                                  trap=world["traps"], tool=world["tools"], shelter=world["shelter"],
                                  land=world["land"], move=world["move"]).items():
            slots[slot] = self._choose(rng, slot, choices)
        return slots

    def _write(self, rng, world):
        slots = self._slots(rng, world)
        sentences, home_told = [], False
        for step in OPENINGS + PLOTS[self.theme] + [[None] + words.ENDINGS + [None] * 3, [None] * 5 + ["The end."]]:
            step = words.THANKS if step == "THANKS" else step
            template = self._choose(rng, "opening", step) if step is OPENINGS[0] else rng.choice(step)
            if template is None or ("{home2}" in template and home_told):
                continue
            home_told = home_told or "{home}" in template or "{Home}" in template
            slots["D"] = rng.choice(DAY).format(**slots) if "{D}" in template else ""
            hero = "the " + self.hero if rng.random() < 0.5 else self.name
            slots["s"], slots["S"] = hero, capital(hero)
            sentences.append(capital(template.format(**slots)))
        return " ".join(sentences)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--split", choices=["train", "held"], default="train")
    options = parser.parse_args()
    import chat_samples
    for index in range(options.n):
        rng = random.Random(f"{options.seed}/{index}")
        print(chat_samples.sample(rng, options.split), end="\n\n")


if __name__ == "__main__":
    main()
