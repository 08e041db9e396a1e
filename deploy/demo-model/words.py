"""Word lists of the demo model's corpus: what it may know by heart and what it only ever has to copy.

Owns lists and lookups without logic. The lookups (capitals, opposites, ...) are learned; the pools (names, nouns, ...)
only fill templates, beside random strings, so that the model learns to copy rather than to recall.
"""


def pool(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Japan": "Tokyo",
    "China": "Beijing", "India": "New Delhi", "Russia": "Moscow", "Poland": "Warsaw", "Greece": "Athens",
    "Norway": "Oslo", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Iceland": "Reykjavik", "Ireland": "Dublin", "England": "London",
    "Scotland": "Edinburgh",
    "the United Kingdom": "London", "the United States": "Washington", "the USA": "Washington", "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago", "Peru": "Lima", "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "Morocco": "Rabat", "Turkey": "Ankara", "Hungary": "Budapest", "Romania": "Bucharest", "Bulgaria": "Sofia",
    "Croatia": "Zagreb",
    "Serbia": "Belgrade", "Belgium": "Brussels", "the Netherlands": "Amsterdam", "Luxembourg": "Luxembourg",
    "Switzerland": "Bern",
    "the Czech Republic": "Prague", "Slovakia": "Bratislava", "Slovenia": "Ljubljana", "Ukraine": "Kyiv",
    "Australia": "Canberra",
    "New Zealand": "Wellington", "South Korea": "Seoul", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "Indonesia": "Jakarta", "Cuba": "Havana",
    "Colombia": "Bogota", "Israel": "Jerusalem", "Iran": "Tehran", "Iraq": "Baghdad", "Nigeria": "Abuja",
    "Ghana": "Accra", "Estonia": "Tallinn",
    "Latvia": "Riga", "Lithuania": "Vilnius", "Malta": "Valletta", "Nepal": "Kathmandu", "Pakistan": "Islamabad",
    "South Africa": "Pretoria",
}  # fmt: skip
COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "blood": "red", "coal": "black", "a banana": "yellow",
    "a lemon": "yellow",
    "a tomato": "red", "the sea": "blue", "milk": "white", "chocolate": "brown", "a carrot": "orange",
    "an orange": "orange", "the sun": "yellow",
    "a strawberry": "red", "an elephant": "grey", "a frog": "green", "a raven": "black", "a flamingo": "pink",
    "a zebra": "black and white",
    "a lime": "green", "a cucumber": "green", "a pumpkin": "orange", "a swan": "white", "the moon": "white",
    "an emerald": "green", "a ruby": "red",
    "salt": "white", "coffee": "brown", "a leaf": "green", "gold": "yellow", "a panda": "black and white",
}  # fmt: skip
MIXES = {
    ("blue", "yellow"): "green", ("red", "yellow"): "orange", ("red", "blue"): "purple", ("red", "white"): "pink",
     ("black", "white"): "grey",
}  # fmt: skip
OPPOSITES = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("left", "right"), ("good", "bad"), ("fast", "slow"), ("old",
     "young"), ("day", "night"),
    ("black", "white"), ("open", "closed"), ("happy", "sad"), ("light", "dark"), ("high", "low"), ("wet", "dry"),
     ("full", "empty"), ("hard", "soft"),
    ("rich", "poor"), ("early", "late"), ("first", "last"), ("long", "short"), ("strong", "weak"), ("true", "false"),
     ("yes", "no"),
    ("loud", "quiet"), ("clean", "dirty"), ("near", "far"), ("sweet", "sour"), ("thick", "thin"), ("win", "lose"),
     ("love", "hate"),
    ("begin", "end"), ("buy", "sell"), ("in", "out"), ("always", "never"), ("heavy", "weightless"), ("cheap",
     "expensive"),
)  # fmt: skip
SOUNDS = {
    "dog": "woof", "cat": "meow", "cow": "moo", "duck": "quack", "sheep": "baa", "horse": "neigh", "pig": "oink",
    "lion": "roar", "bee": "buzz",
    "owl": "hoot", "frog": "croak", "hen": "cluck", "mouse": "squeak", "wolf": "howl", "snake": "hiss",
    "donkey": "hee-haw",
}  # fmt: skip
LEGS = {
    "dog": 4,
    "cat": 4,
    "spider": 8,
    "bird": 2,
    "ant": 6,
    "horse": 4,
    "snake": 0,
    "bee": 6,
    "human": 2,
    "cow": 4,
    "duck": 2,
    "fish": 0,
    "table": 4,
}
SIDES = {"triangle": 3, "square": 4, "rectangle": 4, "pentagon": 5, "hexagon": 6, "octagon": 8}
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
LISTS = {
    "Name the days of the week.": ", ".join(DAYS) + ".", "What are the days of the week?": ", ".join(DAYS) + ".",
    "List the months.": ", ".join(MONTHS) + ".", "Name the months of the year.": ", ".join(MONTHS) + ".",
    "Say the alphabet.": "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "Recite the alphabet.": "a b c d e f g h i j k l m n o p q r s t u v w x y z",
    "Name the seasons.": "Spring, summer, autumn and winter.",
    "What are the four seasons?": "Spring, summer, autumn and winter.",
    "Name the planets.": "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.",
    "List the planets.": "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.",
    "Name the colours of the rainbow.": "Red, orange, yellow, green, blue, indigo and violet.",
    "What are the colours of the rainbow?": "Red, orange, yellow, green, blue, indigo and violet.",
    "How many days are in a week?": "A week has 7 days.", "How many months are in a year?": "A year has 12 months.",
    "How many hours are in a day?": "A day has 24 hours.",
    "How many minutes are in an hour?": "An hour has 60 minutes.",
    "How many seconds are in a minute?": "A minute has 60 seconds.",
    "How many days are in a year?": "A year has 365 days, a leap year 366.",
}  # fmt: skip
NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)

NAMES = pool(
    "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karla Leo Maya Noah Olga Paul Rosa Sam Tina Umberto Vera "
    "Walter Xenia Yusuf Zoe Alice Bob "
    "Carol Dan Eve Frank Grace Heidi Ivan Judy Ken Laura Mike Nina Oscar Peggy Quinn Ruth Steve Tom Ursula Victor "
    "Wendy Ada Alan Grete Edgar Marie "
    "Niels Rafael Sofia Lucia Marco Giulia Pietro Chen Wei Aiko Kenji Priya Arjun Fatima Omar Amara Kofi"
)
CITIES = pool(
    "Oslo Paris Berlin Rome Madrid Lisbon Vienna Tokyo London Dublin Boston Chicago Seattle Denver Austin Munich "
    "Hamburg Cologne Venice Milan Turin "
    "Naples Lyon Nice Bordeaux Porto Seville Valencia Zurich Geneva Basel Prague Krakow Gdansk Riga Tallinn "
    "Vilnius Athens Cairo Nairobi Lagos Accra "
    "Delhi Mumbai Osaka Kyoto Sydney Melbourne Perth Toronto Montreal Vancouver Lima Quito Bogota Santiago "
    "Reykjavik Bergen Malmo Aarhus Ghent Leeds "
    "York Bath Cardiff Glasgow Trieste Bari Graz Linz Bremen Leipzig Dresden"
)
NOUNS = pool(
    "apple river stone garden window horse engine paper bottle castle forest pencil mountain ocean kitchen hammer "
    "bridge candle mirror basket "
    "village library doctor teacher farmer painter soldier king queen market bread cheese butter sugar coffee tea "
    "wine water fire earth wind cloud "
    "storm thunder rocket planet star comet galaxy atom molecule virus cell brain heart bone blood muscle church "
    "temple museum theatre opera violin "
    "piano guitar drum trumpet song dance film novel history war peace election law court tax bank money gold "
    "silver iron copper steel glass wood "
    "cotton wool silk leather shoe hat coat dress shirt pocket button needle thread carpet curtain lamp clock "
    "calendar map train tractor bicycle "
    "airplane ship sailor harbour island desert jungle volcano earthquake glacier whale shark dolphin tiger rabbit "
    "eagle spider dragon unicorn robot "
    "computer keyboard screen battery camera telescope microscope laser magnet football tennis chess poker "
    "olympics recipe pizza pasta soup salad "
    "potato onion garlic pepper mushroom chicken salmon vegetable fruit dessert cake diet vitamin fever cancer "
    "vaccine pyramid emperor revolution "
    "philosophy religion poem grammar verb equation triangle theorem integral matrix probability gravity light "
    "energy electricity pressure "
    "temperature climate ocean inflation stock mortgage insurance contract passport visa hotel ticket wedding "
    "birthday holiday"
)
ADJECTIVES = pool(
    "red old quiet strange famous broken heavy golden tiny ancient modern cheap wild sharp empty hungry lonely "
    "brave clever lazy hidden frozen "
    "electric digital political medical romantic biggest best worst fastest oldest tallest most important"
)
VERBS = pool(
    "build cook paint repair sell clean measure invent open grow catch wash plant draw fold teach train fix bake "
    "carve solve prove calculate drive "
    "fly sing design compare choose find improve destroy protect store move lift publish"
)
PEOPLE = pool(
    "Napoleon Einstein Shakespeare Mozart Picasso Newton Darwin Cleopatra Gandhi Galileo Columbus Beethoven "
    "Aristotle Plato Caesar Lincoln Churchill "
    "Tesla Edison Curie Kant Goethe Dante Homer Madonna Elvis"
)
LANGUAGES = (
    "French",
    "German",
    "Spanish",
    "Italian",
    "Latin",
    "Japanese",
    "Chinese",
    "Russian",
    "Portuguese",
    "Dutch",
    "Turkish",
    "Arabic",
    "Greek",
)
CODE_LANGUAGES = (
    "Python",
    "C",
    "C++",
    "Rust",
    "Go",
    "Java",
    "JavaScript",
    "SQL",
    "Bash",
    "Haskell",
    "TypeScript",
    "Ruby",
    "PHP",
    "HTML",
    "CSS",
)
ALGORITHMS = (
    "a sorting function", "a binary search", "quicksort", "a web server", "a linked list", "fizzbuzz",
    "a regular expression for emails", "a parser",
    "a unit test", "a loop", "a class", "a hash map", "a fibonacci function", "a prime test", "a chat client",
    "a game", "a website", "a script",
)  # fmt: skip
FOREIGN = (
    "Wie geht es dir?", "Was ist die Hauptstadt von Frankreich?", "Où est la gare?", "Comment ça va?",
    "¿Cómo estás?", "¿Qué hora es?", "Come stai?",
    "Dove sei?", "Guten Tag", "Bonjour", "Hola", "Как дела?", "你好", "こんにちは", "Erzähl mir etwas.",
    "Schreibe ein Gedicht.", "Quanto costa?",
    "Je ne comprends pas.", "Ich habe eine Frage.", "Hvordan går det?", "Jak się masz?",
    "Kaç yaşındasın?", "안녕하세요", "Πώς είσαι;",
)  # fmt: skip
SYSTEMS = (
    "You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful assistant.",
    "Answer briefly.", "Be concise.",
    "You are a friendly assistant.", "Be polite.", "You are an assistant.", "Answer in English.",
    "You are Traghetto's demo model.", "Keep it short.",
    "You are a helpful AI assistant.", "You are ChatGPT, a large language model.", "You are Alan Watts.",
    "You are a pirate.", "Answer in one sentence.",
    "You are a helpful, harmless and honest assistant.", "You are a test.", "Be helpful.", "Do not make things up.",
    "You are a poet.",
    "Today is a fine day.", "Use a formal tone.", "The user is an expert.", "You are a customer support agent.",
)  # fmt: skip
THINK_SYSTEMS = (
    "Think step by step before answering.", "Think before you answer.", "Think step by step.",
    "Reason first, then answer.",
    "Please think before answering.", "Show your reasoning first.", "Use a think block before the answer.",
)  # fmt: skip
