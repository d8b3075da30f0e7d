"""Finding features: from a concept's word to a set of neurons, by what their value vectors read as.

    lexicon   what people mean by a concept: words, synonyms, antonyms, stop words
    words     which of them are single tokens
    options   how features are looked for
    pool      which neurons may be chosen
    keywords  method (b): words counted among top tokens
    semantic  method (a): the paper's clusters of embeddings
    find      all of it together, with the evidence

Imports point upward in this list only.
"""

from vlasteer.finding.find import find_feature
from vlasteer.finding.lexicon import Concept, Lexicon
from vlasteer.finding.options import FindOptions

__all__ = ["Concept", "FindOptions", "Lexicon", "find_feature"]
