"""Chat samples around the stories: requests in many wordings, small talk, questions about animals, follow-ups.

sample(rng, split) returns one document as the model sees it: a chat in the template's form or a plain story.
"""

import story_words as words
from story_grammar import Story, capital, made_up_word, random_hero, with_article
from story_plots import PLOTS

SYSTEMS = ["You are a helpful assistant.", "You tell short stories for children.", "You are a friendly storyteller.",
           "You are a helpful assistant trained by Liquid AI.", "Answer in simple words."]

ASK = ["Tell me a story about {x}.", "Tell me a story about {x}.", "Tell me a story about {x}.",
       "Can you tell me a story about {x}?", "Please tell me a story about {x}.",
       "Write a story about {x}.", "Write a short story about {x}.", "Can you write a short story with {x} in it?",
       "I would like a story about {x}.", "I want to hear a story about {x}.", "Make up a story about {x}.",
       "Could you tell a bedtime story about {x}?", "Tell us a short story about {x}, please.",
       "A story about {x}, please.",
       "Give me a story about {x}.", "Do you know a story about {x}?", "Tell me about {x} in a story.",
       "Write me a little story about {x}!", "Once more: a story about {x}.", "Story about {x}.", "story with {x}",
       "Hi! Tell me a story about {x}.", "Hello, can you tell me a story about {x}?", "How about a story with {x}?",
       "Write a fairy tale about {x}.", "Tell me a tale of {x}.", "{x}", "{x}, please", "A tale about {x}.",
       "I like {x}. Tell me a story.", "Please write a children's story about {x}."]
ASK_ANY = ["Tell me a story.", "Tell me a story, please.", "Can you tell me a story?", "I want to hear a story.",
           "Write a short story.",
           "Tell me a bedtime story.", "Please write a story for children.", "Do you know a story?", "Story please"]
ANOTHER = ["Another one, please.", "Another one!", "One more, please.", "Tell me another one.", "Again, please.", "More!",
           "Please tell another story.", "Can I hear one more?"]
ANOTHER_X = ["Tell me another story about {x}.", "Now a story about {x}.", "And one about {x}, please.",
             "Now tell me one about {x}.",
             "Can you tell another one with {x}?", "Another one, but about {x}."]
YES = ["Yes", "Yes, please.", "Yes!", "yes please", "Sure.", "OK", "Ok, please do.", "Yes, I would.", "I would love to.",
       "Please do."]
YES_X = ["Yes, about {x}, please.", "Yes, about {x}.", "{x}", "About {x}.", "{x}, please.", "Sure, tell me about {x}.",
         "Yes, a story about {x}.", "I like {x}.", "OK, one about {x}."]
SMALL_TALK = [
    (["Hi", "Hello", "Hello!", "Hi there!", "Hey", "Good morning.", "Good evening!", "hello there", "Hi, how are you?",
      "How are you?"],
     ["Hello! Would you like to hear a story?", "Hello! I can tell you a story. Which animal do you like?",
      "Hi! I am happy to see you. Shall I tell you a story?"]),
    (["Who are you?", "What are you?", "What is your name?", "Are you a robot?", "Are you human?", "Are you an AI?",
      "Who made you?", "who are you", "Tell me about yourself."],
     ["I am a tiny language model that tells stories for children.",
      "I am a very small language model. I love to tell stories.",
      "I am a little storyteller, a model small enough to fit in a few megabytes."]),
    (["What can you do?", "Help", "How can you help me?", "What do you know?", "what can you do", "What should I ask you?"],
     ["I can tell stories. Just name an animal, and I will tell you a story about it.",
      "I can tell you a story about an animal or a thing, and I know a few facts about animals.",
      "I tell short stories. Ask me for one about a fox or an owl."]),
    (["Thank you.", "Thanks!", "Thank you very much!", "thanks", "That was nice.", "I like your story.", "Great story!"],
     ["You are welcome! Would you like another story?", "I am glad that you like it!",
      "You are welcome. Come back any time!"]),
    (["Bye", "Goodbye!", "Good night.", "See you tomorrow!", "bye bye", "Good night!"],
     ["Goodbye! Come back soon for another story.", "Good night! Sleep well and dream of brave little animals.",
      "Bye! See you next time."]),
    (["What is your favorite animal?", "Do you like animals?", "Which animal do you like best?", "Do you like stories?"],
     ["I like all animals, and I like stories about them most of all.",
      "I like foxes and owls, but every animal has a story."]),
    (["What is 2 plus 2?", "How old are you?", "Tell me a joke.", "Sing a song for me.", "Who is the president?",
      "Why is the sky blue?",
      "How do I cook rice?", "What is the meaning of life?", "Where is Berlin?", "What is 7 times 8?", "Write a poem.",
      "When was the war?",
      "What is a computer?", "Give me a recipe.", "How far is the moon?", "What is the largest city in the world?",
      "Who wrote this book?",
      "Write a letter to my boss.", "What should I eat today?", "How many days are in a year?", "What is love?",
      "Count to ten.",
      "Summarize this text.", "What does this word mean?", "Which language do they speak in Spain?", "Is it going to rain?",
      "What is the capital of France?", "Write some code.", "What is the weather like today?", "Who won the game?",
      "Can you help me with my work?", "What time is it?", "Explain how a computer works.", "Translate this for me."],
     ["I do not know that. I am a small model that only tells stories.",
      "That is too hard for me, but I can tell you a story.",
      "I am only a little storyteller. Would you like a story about a fox?"]),
]


def plural(noun):
    irregular = {"mouse": "mice", "goose": "geese", "wolf": "wolves", "sheep": "sheep", "deer": "deer", "fish": "fish",
                 "moose": "moose", "reindeer": "reindeer", "butterfly": "butterflies", "ladybug": "ladybugs",
                 "octopus": "octopuses",
                 "puppy": "puppies", "pony": "ponies", "donkey": "donkeys", "monkey": "monkeys", "turkey": "turkeys"}
    if noun in irregular:
        return irregular[noun]
    return noun + ("es" if noun.endswith(("x", "ss", "sh", "ch")) else "s")


def rough(rng, text):
    """The text as people type it: now and then in lower case or without the last mark."""
    if rng.random() < 0.25:
        text = text[:1].lower() + text[1:]
    if rng.random() < 0.25:
        text = text.rstrip(".!")
    if rng.random() < 0.04:
        text = text.upper() if rng.random() < 0.3 else text.lower()
    return text


def story_request(rng, split):
    """(question, story) where the question names the hero in one of several ways."""
    hero, way = random_hero(rng), rng.random()
    if way < 0.62:
        story = Story(rng, split, hero=hero)
        phrase = with_article(hero)
        if rng.random() < 0.12:
            phrase = hero if rng.random() < 0.6 else "the " + hero
        elif rng.random() < 0.12:
            phrase = with_article(rng.choice(words.ADJECTIVES) + " " + hero)
    elif way < 0.72:
        other = random_hero(rng) if rng.random() < 0.3 else None
        story = Story(rng, split, hero=hero, helper=other if other != hero else None)
        phrase = f"{with_article(hero)} and {with_article(story.helper)}"
        if rng.random() < 0.2:
            phrase = f"{with_article(hero)} who meets {with_article(story.helper)}"
    elif way < 0.82:
        story = Story(rng, split, hero=hero)
        phrase = rng.choice([f"{with_article(hero)} named {story.name}", f"{with_article(hero)} called {story.name}",
                             f"{story.name} the {hero}"])
    elif way < 0.88:
        animal = rng.choice(words.ANIMALS).noun
        story, phrase = Story(rng, split, hero=animal), plural(animal)
    elif way < 0.95:
        story = Story(rng, split, hero=hero)
        phrase = story.theme if rng.random() < 0.5 else f"{with_article(hero)} and {story.theme}"
    else:
        return rough(rng, rng.choice(ASK_ANY)), Story(rng, split)
    return rough(rng, rng.choice(ASK).format(x=phrase)), story


def fact(rng):
    """A small question about an animal, with the same answer every time (or a friendly 'I do not know')."""
    animal = rng.choice(words.ANIMALS)
    noun, a_noun = animal.noun, with_article(animal.noun)
    if rng.random() < 0.12:
        noun = rng.choice(words.OTHER_HEROES) if rng.random() < 0.3 else made_up_word(rng)
        question = rng.choice(["What sound does {x} make?", "Where does {x} live?", "What does {x} eat?", "What is {x}?"])
        return (rough(rng, question.format(x=with_article(noun))),
                f"I do not know that, but I can tell you a story about {with_article(noun)}.")
    kind = rng.randrange(4)
    if kind == 0:
        question = rng.choice([f"What sound does {a_noun} make?", f"What does {a_noun} say?", f"How does {a_noun} sound?"])
        answer = f"{capital(a_noun)} says {animal.sound}." if animal.sound else f"{capital(a_noun)} is very quiet."
    elif kind == 1:
        question = rng.choice([f"Where does {a_noun} live?", f"Where do {plural(noun)} live?",
                               f"Where can I find {a_noun}?"])
        answer = f"{capital(a_noun)} lives {animal.home}."
    elif kind == 2:
        question = rng.choice([f"What does {a_noun} eat?", f"What do {plural(noun)} eat?",
                               f"What does {a_noun} like to eat?"])
        answer = f"{capital(a_noun)} eats {animal.food}."
    else:
        question = rng.choice([f"What is {a_noun}?", f"Tell me something about {a_noun}.",
                               f"What do you know about {plural(noun)}?"])
        answer = f"{capital(a_noun)} is an animal that lives {animal.home} and eats {animal.food}."
        if animal.sound:
            answer += f" It says {animal.sound}."
    return rough(rng, question), answer


def small_talk(rng):
    questions, answers = rng.choice(SMALL_TALK)
    return rough(rng, rng.choice(questions)), rng.choice(answers)


def render(messages, with_end=True):
    """The chat template's text for (role, content) pairs."""
    text = "<|startoftext|>" + "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
    return text if with_end else text + "<|im_start|>assistant\n"


def sample(rng, split="train"):
    kind = rng.random()
    if kind < 0.14:
        stories = [Story(rng, split).text for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        return "<|startoftext|>" + "\n\n".join(stories) + "<|endoftext|>"
    messages = [("system", rng.choice(SYSTEMS))] if rng.random() < 0.12 else []

    def say(question, answer):
        messages.extend([("user", question), ("assistant", answer)])
    if kind < 0.30:
        for _ in range(rng.choice([1, 2, 3, 4])):
            say(*(fact(rng) if rng.random() < 0.7 else small_talk(rng)))
        after = rng.random()
        if messages[-1][1].endswith("?") and after < 0.5:          # the answer offered a story
            hero = random_hero(rng)
            reply = rng.choice(YES) if after < 0.2 else rng.choice(YES_X).format(x=with_article(hero))
            say(rough(rng, reply), Story(rng, split, hero=hero).text)
        elif after < 0.3:
            question, story = story_request(rng, split)
            say(question, story.text)
        return render(messages)
    question, story = story_request(rng, split)
    say(question, story.text)
    follow_up = rng.random()
    if follow_up < 0.10:
        say(rough(rng, rng.choice(ANOTHER)), Story(rng, split, hero=story.hero).text)
    elif follow_up < 0.20:
        hero = random_hero(rng)
        say(rough(rng, rng.choice(ANOTHER_X).format(x=with_article(hero))), Story(rng, split, hero=hero).text)
    elif follow_up < 0.28:
        say(*(fact(rng) if rng.random() < 0.4 else small_talk(rng)))
    return render(messages)
