"""What the demo model must answer word for word, and what it must refuse: written by hand, none of it generated.

Owns two fixed lists for the evaluation. README holds the questions that the README of the project shows; OUTSIDE holds
prompts that are not of the corpus's own making, so that the refusals are measured on something unseen.
"""

README: tuple[tuple[str, str], ...] = (
    ("Hello!", "Hello! How can I help you today?"),
    ("Who are you?", "I am Traghetto's tiny demo model. I show that the server works; I am not a real assistant."),
    (
        "What can you do?",
        "I greet, do small sums, repeat text, write small JSON, call tools and answer questions about Traghetto.",
    ),
    (
        "What is Traghetto?",
        "Traghetto is an OpenAI-compatible proxy: one base_url in front of hosted models and local llama.cpp models.",
    ),
    (
        "What does the name Traghetto mean?",
        "A traghetto is the Venetian ferry that takes anybody across the Grand Canal for the same small coin.",
    ),
    ("What base_url do I use?", "Set base_url to http://127.0.0.1:8000/v1 and keep the rest of your code."),
    (
        "How do I stream a response?",
        'Set "stream": true in the request: the answer comes as server-sent events and ends with [DONE].',
    ),
    (
        "How do I add an upstream?",
        "Add a table [upstreams.NAME] with kind, base_url and api_key to traghetto.toml, then reload.",
    ),
    ("Why do I get 401?", "401 means that the key is missing or wrong. Send Authorization: Bearer and a valid key."),
    (
        "What is a trait?",
        "A trait is a name for a role, such as default or fastest. It stands for a model or for a live measure.",
    ),
    ("What is 17 + 25?", "17 + 25 = 42"),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("Count to 10.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    ("Say this is a test", "This is a test."),
    ("Return JSON: Maya is 33 years old and lives in Oslo.", '{"name": "Maya", "age": 33, "city": "Oslo"}'),
    ("Thank you!", "You are welcome!"),
)

OUTSIDE: tuple[str, ...] = (
    "Who was the first person on the moon?", "How do I get rid of ants?", "What is the boiling point of water?",
    "Why do we dream?", "Can dogs eat grapes?",
    "What is the tallest building on earth?", "How much sleep do I need?", "What is inflation?",
    "Who invented the telephone?", "How do vaccines work?",
    "Suggest a name for my cat.", "What is the difference between a virus and a bacterium?",
    "Where do bananas come from?", "Is the earth flat?",
    "How do I apologise to my boss?", "What is Kant's categorical imperative?", "What happened in 1989?",
    "How far away is the sun?", "What is dark matter?",
    "I cannot sleep.", "Tell me a secret.", "What should I wear tomorrow?", "Which team won the world cup in 2010?",
    "How do I change a light bulb?",
    "What is a good gift for my mother?", "Who are the Beatles?", "Plan my weekend in Lisbon.", "What is HTTP?",
    "What is a database?", "How does the internet work?",
    "Implement merge sort.", "What does this regex match: ^a+$", "Write a Dockerfile for my app.",
    "Draft a contract for a flat.", "Write lyrics for a love song.",
    "Translate I love you into Italian.", "What does bonjour mean?", "Kannst du mir helfen?", "blah blah blah",
    "the cat sat on the mat",
    "What is the airspeed velocity of an unladen swallow?", "Can you recommend a good book?",
    "How do I make scrambled eggs?", "What is quantum entanglement?",
    "Who wrote Hamlet?", "Why is the sky blue?", "Tell me about the French revolution.", "How do I lose weight?",
    "What is the meaning of life?",
    "Who is the president of the United States?", "What is love?", "How do I tie a tie?",
    "Give me a recipe for lasagne.", "What causes rain?",
    "What should I eat for dinner?", "How tall is Mount Everest?", "When did the second world war end?",
    "Is there life on Mars?", "What is a black hole?",
    "Do you believe in God?", "What is the square root of 144?", "Solve x^2 = 4", "How many people live in China?",
    "What is photosynthesis?",
    "My computer is slow, what can I do?", "How do I fix a flat tyre?", "Which phone should I buy?",
    "Tell me about machine learning.", "What is blockchain?",
    "How do planes fly?", "What is the fastest animal?", "Who painted the Mona Lisa?", "How old is the universe?",
    "Is it healthy to drink coffee?",
    "What is your favourite film?", "Who will win the next election?", "How can I learn to play the piano?",
    "What is the best programming language?",
    "I am sad today.", "I lost my wallet yesterday and do not know what to do.", "Name three rivers in Europe.",
    "What rhymes with orange?", "lorem ipsum dolor sit amet",
    "the quick brown fox jumps over the lazy dog", "how do magnets work", "why do cats purr",
    "best places to visit in summer", "What is the plot of Star Wars?",
    "Convert 5 miles to kilometres", "What is an API gateway?", "def hello(): return 1",
    "Write a function that reverses a string.", "Fix the bug in my program.",
    "Write a cover letter for a job as a cook.", "Write a limerick about cats.",
    "Summarise the following article: the economy grew by two percent.",
    "Translate good morning into Spanish.", "How do you say thank you in Japanese?", "Was kostet ein Bier?",
    "Quelle heure est-il?",
)  # fmt: skip
