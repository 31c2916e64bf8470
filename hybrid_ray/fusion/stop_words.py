"""Words that say little by themselves, by language: what ``cleaned`` leaves out where it is asked to.

English is scikit-learn's list. The others are articles, pronouns, prepositions, conjunctions, and forms of to be, to
have and the commonest auxiliaries. In all of them words of negation stay, since sentiment hangs on them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

Language = Literal["dutch", "english", "french", "german", "italian", "portuguese", "spanish"]

_LISTS: Mapping[str, str] = {
    "dutch": """de het een en of maar als dan dat die dit deze daar er hier wat wie waar ik je jij u hij zij ze wij we
        jullie hem haar hun ons mij me mijn jouw zijn uw onze is was waren ben bent geweest heb hebt heeft had hadden
        word wordt worden werd kan kunnen zal zullen zou in op te aan met van voor door om bij naar uit over onder tot
        tegen tijdens zo ook nog al toch wel""",
    "french": """le la les un une des du de d l au aux et ou mais donc or car que qui quoi dont où ce cet cette ces je j
        tu il elle on nous vous ils elles me m te t se s moi toi lui leur leurs mon ma mes ton ta tes son sa ses notre
        nos votre vos est es suis sommes êtes sont était étaient été être ai as a avons avez ont avait avaient eu avoir
        à en dans par pour sur sous avec chez vers entre y si comme aussi plus très c qu""",
    "german": """der die das den dem des ein eine einer einem einen eines und oder aber als wie wenn dass daß weil da
        dann ich du er sie es wir ihr mich dich ihn uns euch mir dir ihm ihnen sich mein dein sein unser euer meine
        deine seine ihre unsere dieser diese dieses diesem diesen jener jene jenes welcher welche welches bin bist ist
        sind seid war waren gewesen habe hast hat haben hatte hatten wird werden wurde wurden kann können zu in im an am
        auf aus bei beim mit nach von vom vor für durch um über unter zum zur bis auch noch schon so was wer wo man""",
    "italian": """il lo la i gli le un uno una e ed o ma se che chi cui di a da in con su per tra fra del dello della
        dei degli delle al allo alla ai agli alle dal dalla dai nel nella nei sul sulla io tu egli lui lei noi voi essi
        loro mi ti si ci vi me te mio mia tuo tua suo sua nostro nostra vostro vostra questo questa quello quella sono
        sei è siamo siete era erano stato stata essere ho hai ha abbiamo avete hanno aveva avere come anche più""",
    "portuguese": """o a os as um uma uns umas e ou mas se que quem de do da dos das em no na nos nas por pelo pela para
        com sobre entre até ao à aos às eu tu ele ela nós vós eles elas você vocês me te lhe meu minha teu tua seu
        sua nosso nossa este esta esse essa isto isso aquele aquela sou és é somos são era eram foi ser estar está estão
        tenho tem temos têm tinha ter como também mais muito""",
    "spanish": """el la los las un una unos unas y e o u pero si que quien cual de del a al en con por para sobre
        entre hasta desde yo tú él ella nosotros vosotros ellos ellas usted ustedes me te se nos os le les lo mi mis tu
        tus su sus nuestro nuestra vuestro este esta estos estas ese esa eso aquel aquella soy eres es somos son era
        eran fue ser estoy está están estaba estar he has ha hemos han había haber como también más muy ya""",
}


_NEGATIONS = frozenset(
    {"cannot", "cant", "couldnt", "hasnt", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing"}
    | {"nowhere", "without"}
)
"""English words that scikit-learn's list has, and that stay."""


@lru_cache
def stop_words(language: Language) -> frozenset[str]:
    """The words of a language, in small letters, and the same without accents."""
    if language == "english":
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        return frozenset(ENGLISH_STOP_WORDS) - _NEGATIONS
    words = _LISTS[language].split()
    return frozenset(words) | {without_accents(word) for word in words}


def without_accents(text: str) -> str:
    """The same letters, bare."""
    apart = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(sign for sign in apart if not unicodedata.combining(sign)))
