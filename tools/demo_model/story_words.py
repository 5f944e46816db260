"""Word lists of the story grammar: who the stories are about, where they happen, what is lost, eaten and learnt."""

# noun|world|where it lives|what it eats|what it says ("" = a quiet one)
_ANIMALS = """
fox|land|in a den in the forest|berries and mice|yip
bear|land|in a cave in the mountains|honey and fish|growl
rabbit|land|in a burrow under the ground|carrots and clover|
hare|land|in the open fields|grass and herbs|
squirrel|land|high up in a tree|nuts and seeds|chip chip
hedgehog|land|under a hedge|beetles and worms|snuffle
mouse|land|in a tiny hole|seeds and cheese|squeak
owl|land|in a hollow tree|mice and moths|hoot
deer|land|in the forest|leaves and grass|
wolf|land|in the forest|meat|awoo
badger|land|in a tunnel under the ground|worms and roots|
mole|land|under the ground|worms|
otter|land|by the river|fish and crabs|
beaver|land|in a lodge on the river|bark and twigs|
frog|land|by the pond|flies and bugs|croak
toad|land|in a damp garden|slugs and bugs|croak
duck|land|on the pond|water plants and snails|quack
goose|land|on the farm|grass and seeds|honk
swan|land|on the lake|water plants|
hen|land|in a henhouse|corn and seeds|cluck
rooster|land|on the farm|corn and seeds|cock-a-doodle-doo
chick|land|on the farm|tiny seeds|peep
cow|land|on the farm|grass and hay|moo
sheep|land|in the meadow|grass|baa
lamb|land|in the meadow|milk and grass|baa
goat|land|in the hills|grass and leaves|maa
pig|land|on the farm|almost everything|oink
horse|land|in a stable|hay and oats|neigh
pony|land|in a stable|hay and apples|neigh
donkey|land|on the farm|hay and grass|hee-haw
dog|land|in a house with people|meat and biscuits|woof
puppy|land|in a house with people|puppy food|yap
cat|land|in a house with people|fish and meat|meow
kitten|land|in a house with people|milk and kitten food|mew
hamster|land|in a cozy cage|seeds and carrots|
parrot|land|in the jungle|fruit and nuts|squawk
crow|land|in a tall tree|seeds and worms|caw
robin|land|in the garden|worms and berries|tweet
sparrow|land|under the roof|seeds and crumbs|chirp
pigeon|land|in the city|seeds and crumbs|coo
turkey|land|on the farm|corn and bugs|gobble
snake|land|under a warm rock|eggs and mice|hiss
lizard|land|on a warm wall|flies and bugs|
snail|land|in the garden|leaves|
ant|land|in an anthill|crumbs and seeds|
bee|land|in a hive|honey and nectar|buzz
butterfly|land|in the meadow|nectar from flowers|
ladybug|land|on the leaves in the garden|tiny green bugs|
spider|land|in a silver web|flies|
cricket|land|in the tall grass|leaves and grass|chirp
worm|land|under the ground|old leaves|
lion|land|in the grassland|meat|roar
tiger|land|in the jungle|meat|roar
elephant|land|in the grassland|leaves and fruit|toot
monkey|land|in the jungle|bananas and nuts|ooh ooh
giraffe|land|in the grassland|leaves from tall trees|
zebra|land|in the grassland|grass|
hippo|land|in the river|grass|grunt
rhino|land|in the grassland|grass and leaves|snort
kangaroo|land|in the dry bush|grass|
koala|land|in a gum tree|gum leaves|
panda|land|in a bamboo forest|bamboo|
camel|land|in the desert|dry grass|
crocodile|land|in the river|fish and meat|snap
tortoise|land|in a dry garden|leaves and flowers|
bat|land|in a dark cave|moths and fruit|
raccoon|land|in the forest|fruit and eggs|
skunk|land|in the forest|bugs and berries|
moose|land|in the cold forest|twigs and leaves|
penguin|land|on the ice|fish|
reindeer|land|in the cold north|moss|
eagle|land|on a high cliff|fish and mice|screech
peacock|land|in a big garden|seeds and bugs|
llama|land|in the high mountains|grass|hum
flamingo|land|on a salty lake|tiny shrimps|
whale|sea|in the deep sea|tiny shrimps|woo
dolphin|sea|in the warm sea|fish|click click
shark|sea|in the sea|fish|
octopus|sea|in a cave under the sea|crabs and shells|
crab|sea|on the beach|seaweed and snails|
seal|sea|by the cold sea|fish|arf
seahorse|sea|in the seaweed|tiny shrimps|
starfish|sea|on the floor of the sea|shells|
turtle|sea|in the warm sea|sea grass|
fish|sea|in the water|water plants and bugs|
jellyfish|sea|in the sea|tiny shrimps|
lobster|sea|under the rocks in the sea|snails and crabs|
walrus|sea|by the icy sea|shells and clams|
"""

class Animal:
    """One row of the table above."""
    def __init__(self, row):
        self.noun, self.world, self.home, self.food, self.sound = row.split("|")


ANIMALS = [Animal(row) for row in _ANIMALS.strip().split("\n")]

OTHER_HEROES = """dragon unicorn robot dinosaur giant fairy elf gnome troll pirate wizard witch knight princess prince king
queen farmer baker sailor snowman scarecrow doll train truck tractor boat balloon kite lantern teapot clock broom cloud star
moon snowflake pumpkin tree flower puppet drum kettle spoon pencil button umbrella acorn apple onion candle mitten sock
marble bell ghost monster goblin boy girl child painter gardener tailor clown drummer feather leaf pebble raindrop
rainbow rocket ship wagon bicycle bus car ball block potato carrot cookie muffin mushroom turnip pear plum orange egg
pillow blanket hat boot shoe key ladder hammer brush bucket basket bottle book lamp chair table door window""".split()
SEA_OTHERS = ["mermaid", "shrimp", "squid", "clam"]

NAMES_HE = """Pip Milo Otto Finn Leo Max Toby Gus Hugo Sam Oscar Bruno Felix Jasper Rufus Barney Theo Ned Archie Benny
Charlie Dexter Eddie Freddy Gilbert Henry Ivan Jack Kip Louie Monty Norman Ollie Percy Quentin Ralph Stanley Tom Victor
Walter Ziggy Bo Chip Dusty""".split()
NAMES_SHE = """Luna Rosie Bella Daisy Lily Mia Nora Olive Penny Ruby Stella Tilly Willa Zoe Ada Bonnie Clara Dora Ella Flora
Greta Hazel Ivy Josie Kitty Lottie Maple Nellie Opal Pearl Queenie Rita Sally Tess Una Vera Wendy Poppy Ginger Honey
Juniper Molly Amber Birdie""".split()

ADJECTIVES = """little small young kind clever brave shy curious cheerful gentle playful happy lazy proud quiet funny sleepy
friendly tiny busy""".split()
MOODS = """kind clever brave shy curious cheerful gentle playful happy lazy proud quiet funny sleepy friendly busy""".split()
HELPER_ADJECTIVES = ["kind", "wise old", "friendly", "cheerful", "gentle", "big", "little", "clever", "quiet", "old",
                     "smiling", "young"]
WEATHERS = ["sunny", "warm", "cold", "windy", "foggy", "bright", "rainy", "cloudy", "crisp"]
DAYTIMES = ["morning", "afternoon", "evening", "day"]
COLORS = ["red", "blue", "green", "yellow", "golden", "purple", "brown", "white", "silver", "pink"]
OBJECTS = ["ball", "scarf", "hat", "bell", "book", "blanket", "drum", "kite", "basket", "flute", "ribbon", "button", "cup",
           "lantern", "spoon", "whistle", "mitten", "box"]
FRAGILE = ["cup", "bell", "lantern", "vase", "flute", "drum", "plate", "pot", "mirror", "box", "clock", "jar"]
SHINY = ["ring", "coin", "key", "necklace", "crown", "stone", "watch", "medal"]
FEARS = ["the dark", "thunder", "loud noises", "deep water", "the wind", "high places", "strangers", "big shadows"]
GAMES = ["hide and seek", "tag", "catch", "follow the leader", "leapfrog", "guessing games"]
THANKS = ['"Thank you so much," said {s}.', '"Thank you, dear friend," {s} said.',
          "{N} thanked the {h} with all {his} heart.", "{S} gave the {h} a big hug.",
          '"You are very kind," {N} told the {h}.']
ENDINGS = ["From that day on, {N} and the {h} were the best of friends.",
           "After that, {N} and the {h} played together every day.", "That night, the {a} fell asleep with a smile.",
           "And so the {a} and the {h} became good friends.", "{N} never forgot that day.",
           "That evening, {s} went home happy.", "The {a} was the happiest {a} in the whole {land}.",
           "To this day, the {a} and the {h} laugh about it.", "And the little {a} smiled all the way home."]

# Nouns that fix the pronoun.
HE_NOUNS = {"boy", "king", "prince", "wizard", "rooster"}
SHE_NOUNS = {"girl", "queen", "princess", "witch", "hen", "cow", "mermaid", "doll", "fairy"}

# What depends on the world: land or sea.
WORLDS = {
    "land": {
        "homes": ["in a quiet forest", "on a small farm", "near a blue lake", "at the edge of a village",
                  "in a green valley", "by a winding river", "on top of a hill", "in a sunny meadow",
                  "at the foot of a mountain", "in a little house", "beside an old mill", "in a big garden",
                  "near a tall castle", "on a tiny island", "in a land far away", "behind a stone wall",
                  "under a tall oak tree", "next to a busy town"],
        "spots": ["under the old oak tree", "behind the barn", "by the well", "next to the big rock", "in the tall grass",
                  "near the wooden bridge", "in the berry bushes", "behind the stone wall", "beside the stream",
                  "under a pile of leaves", "in a hollow log", "at the bottom of the hill", "near the garden gate",
                  "on top of the hay", "under the apple tree", "by the edge of the pond"],
        "hobbies": ["chase leaves in the wind", "sing to the moon", "count the stars", "collect smooth stones",
                    "paint pictures", "watch the clouds", "dance in the rain", "listen to old stories",
                    "roll down the hill", "smell the flowers", "build little towers", "play hide and seek",
                    "look for treasure", "hum a happy tune"],
        "foods": ["apples", "berries", "nuts", "pears", "carrots", "cookies", "cherries", "pancakes", "plums",
                  "sweet rolls"],
        "skills": ["to swim", "to sing", "to dance", "to whistle", "to climb trees", "to skate on the ice", "to paint",
                   "to play the flute", "to juggle", "to ride a bicycle", "to jump very far", "to bake bread"],
        "traps": ["fell into a deep hole", "got stuck in the mud", "got caught in a thorny bush", "slipped into a ditch",
                  "got trapped under a fallen branch", "tumbled into an empty well"],
        "tools": ["a long rope", "a strong branch", "an old ladder", "a sturdy stick"],
        "shelter": ["cave", "cottage", "barn", "hollow tree", "little hut"],
        "land": ["forest", "valley", "village", "land", "meadow"],
        "move": ["walked", "hurried", "wandered", "ran", "skipped"]},
    "sea": {
        "homes": ["in the deep blue sea", "near a coral reef", "in a warm lagoon", "beside a sunken ship",
                  "by a rocky shore", "in a cave under the sea", "close to a sandy island", "in a garden of seaweed",
                  "near an old lighthouse"],
        "spots": ["under a flat rock", "behind the coral", "in the thick seaweed", "near the sunken ship",
                  "on the sandy floor", "inside an empty shell", "beside the old anchor", "in a dark little cave",
                  "between two smooth stones"],
        "hobbies": ["play with bubbles", "swim in circles", "collect pretty shells", "ride the waves", "watch the boats",
                    "sing to the moon", "hide in the seaweed", "count the stars", "look for treasure", "hum a happy tune"],
        "foods": ["sea berries", "seaweed cakes", "sweet sea grapes", "crunchy snacks", "sea cookies"],
        "skills": ["to dance", "to sing", "to spin like a top", "to jump over the waves", "to blow big bubbles",
                   "to juggle shells", "to swim very fast"],
        "traps": ["got stuck in an old net", "got trapped between two rocks", "got tangled in the seaweed",
                  "got caught under an anchor"],
        "tools": ["a sharp shell", "a strong stick", "a long piece of rope"],
        "shelter": ["cave", "big shell", "grotto"],
        "land": ["sea", "ocean", "bay"],
        "move": ["swam", "hurried", "drifted", "paddled", "glided"]},
}

SYLLABLES = ["bli", "zor", "mu", "fen", "tak", "lo", "pim", "ga", "ru", "shi", "vo", "quel", "dra", "nop", "wig", "fle",
             "kor", "sna", "tu", "bex", "mar", "jo", "li", "gru", "hob", "pla", "yim", "cro", "tho", "nu", "sel", "bum",
             "tri", "ka", "om", "ib", "ep", "al"]
SYLLABLE_ENDS = ["ck", "mp", "n", "x", "t", "bble", "ffin", "zle", "p", "ster", "do", "r", "l", "nk", "", "bo", "ling",
                 "saur"]
# Parts of made-up words that look like any other word.
ONSETS = "b c d f g h j k l m n p qu r s t v w y z bl br ch cl cr dr fl gr kn ph pl sc sh sl sp st sw th tr wh str".split()
VOWELS = "a e i o u a e i o ea ee oo ou ai y".split()
MIDDLES = "b c d f g l m n p r s t v ck ll rr ss tt nd nt mb mp rm rd st ct bm gg dd ch sh ph th rn lp".split()
CODAS = ["", "", "", "n", "r", "t", "s", "l", "m", "p", "d", "x", "ck", "nt", "rd", "ll", "ng", "re", "le", "se", "lo", "ne"]

# Nouns that no training text contains: the test of copying a word from the question.
NEVER_TRAINED = ["gorilla", "armadillo", "wombat", "phoenix", "cactus", "lemur", "submarine", "vampire", "teacup", "pickle"]
