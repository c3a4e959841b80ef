"""Function words by language: the short frequent words that bind a phrase, and that hardly any title or name needs.

`OPENERS` begin a new part of a sentence (prepositions, conjunctions, relative pronouns); `OTHERS` cannot end one (articles,
determiners, auxiliaries, pronouns). Only words of Latin and Cyrillic scripts: other scripts name their language by themselves.
Both are written by hand, lower case; what two languages share stands in both. Left out are words that are nouns or verbs of
another language: hat and war (de), door (nl), car and pendant (fr), come (it).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MARKS = ".,:;!?…\"'’()[]«»“”„"

OPENERS: dict[str, str] = {
    "en": "of off just in on at near with without for to from by about during after before under over between among along "
    "across through into onto inside outside around against towards behind above below beside while when where "
    "which who whose that because as and or but than until since",
    "de": "von vom in im an am auf aus bei beim mit ohne für zu zum zur nach über unter vor hinter neben zwischen durch "
    "gegen um während und oder aber dass weil wenn als wie wo sowie bis seit ins ans",
    "fr": "de du des d'un d'une à au aux en dans sur sous avec sans pour par chez entre vers devant derrière "
    "depuis et ou mais que qui où lorsque quand comme",
    "es": "de del en con sin por para a al sobre bajo entre hacia desde hasta durante según y e o u pero que quien "
    "donde cuando como porque",
    "pt": "de do da dos das em no na nos nas com sem por pelo pela para ao aos à às sobre sob entre até desde e ou mas "
    "que quem onde quando como porque",
    "it": "di del della dello dei degli delle in nel nella nei nelle con senza per da dal dalla dai dalle su sul sulla "
    "sui sulle a al alla ai alle tra fra e ed o ma che chi quando perché",
    "nl": "van in op aan bij met zonder voor naar uit over onder tussen tegen tijdens om en maar dat die waar wanneer "
    "als omdat tot sinds",
    "sv": "av i på vid med utan för från om över mellan genom mot efter och eller att som där när",
    "da": "af i på ved med uden for til fra om over mellem gennem mod efter og eller som der hvor når",
    "no": "av i på ved med uten for til fra om over mellom gjennom mot etter og eller som der hvor når",
    "pl": "z ze w na do od po przy przed nad pod za dla bez o u przez między i oraz lub albo że który która które gdzie gdy jak",
    "cs": "z ze v ve na do od po při před nad pod za bez o u přes mezi a i nebo že který která které kde když jak",
    "ro": "de din în la pe cu fără pentru prin spre peste între după și sau dar că unde când ca",
    "hu": "és vagy de hogy ami aki ahol amikor mint",
    "tr": "ve ile veya için gibi kadar ama ki",
    "id": "di ke dari pada dengan tanpa untuk oleh dalam antara dan atau tetapi yang ketika karena seperti",
    "vi": "của và trong trên với cho từ ở tại bằng hoặc nhưng là khi như",
    "fi": "ja tai mutta että joka jossa kun kuin",
    "ru": "в во на с со из от до по к ко у за под над перед при без для о об про через между и или но а что чтобы "
    "который которая которые где когда как",
    "uk": "в у на з зі із від до по к за під над перед при без для про через між і й та або але що щоб який яка які де коли як",
    "bg": "в във на с със от до по за под над пред при без през между и или но че който която които където когато как",
}

OTHERS: dict[str, str] = {
    "en": "the a an is are was were be been being has have had this these those his her its their our your my he she "
    "they we you i not no very more me him them so would should if how what then there all do does did",
    "de": "der die das den dem des ein eine einen einem einer eines ist sind waren wird werden haben sich nicht auch "
    "noch sehr mein seine seinen seiner ihre ihren ihrer er sie es wir ich mich mir uns kann alle zwei nur",
    "fr": "non le la les l' un une est sont était a ont ce cette ces sa ses leur leurs notre nos il elle ils elles se "
    "ne pas très je tu nous vous tout toute deux être fait",
    "es": "el la los las un una unos unas es son era fue está están ha han su sus este esta estos estas se no muy más "
    "lo le me nos todo todos dos hay ser yo qué",
    "pt": "o a os as um uma uns umas é são foi está estão seu sua seus suas este esta esse essa se não muito mais eu "
    "todo todos dois há ser você",
    "it": "il lo la i gli le un uno una è sono era ha hanno suo sua suoi questo questa questi si non molto più mi ci "
    "tutto tutti due essere anche nostra loro",
    "nl": "de het een is zijn was waren wordt worden heeft hebben deze dit haar hun niet ook zeer ik wij ze kan geen alle twee",
    "sv": "en ett den det de är var har sin sitt sina inte mycket mer",
    "da": "en et den det de er var har sin sit sine ikke meget mere",
    "no": "en et ei den det de er var har sin sitt sine ikke mye mer",
    "pl": "jest są był była się nie ta te jego jej ich bardzo",
    "cs": "je jsou byl byla se si ta té jeho její jejich velmi",
    "ro": "un o este sunt era a au cea cei cele său sa lor nu foarte mai se",
    "hu": "a az egy van nem is",
    "tr": "bir bu şu o de çok",
    "id": "ini itu adalah ada tidak sebuah seorang",
    "vi": "một những các này đó được không",
    "fi": "ei se hän hänen ovat oli",
    "ru": "это этот эта эти его её их свой свою своей был была было были не же бы он она они я мы вы так все мой",
    "uk": "це цей ця ці його її їх свій свою був була було були не він вона вони",
    "bg": "е са се си това този тази тези не беше",
}


@lru_cache(4)
def _table(languages: tuple[str, ...]) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray]:
    """All function words of L languages, string[W], where the votes of each begin, int64[W + 1], for whom, int64[V], and weights.

    A word votes for every language that has it, the less the more have it.
    """
    of_language = [set(OPENERS.get(name, "").split()) | set(OTHERS.get(name, "").split()) for name in languages]
    words = sorted(set().union(*of_language))
    of_word = [[place for place, own in enumerate(of_language) if word in own] for word in words]
    first = np.cumsum([0, *map(len, of_word)])
    weights = [np.float32(1) / np.float32(len(own)) ** np.float32(1.5) for own in of_word for _ in own]
    return (
        pa.array(words, pa.string()),
        first,
        np.array([place for own in of_word for place in own], np.int64),
        np.array(weights, np.float32),
    )


def votes_of(captions: pa.StringArray, languages: tuple[str, ...]) -> np.ndarray:
    """The votes of the function words of each caption (string[N]) for each of L languages: float32[N, L]."""
    words, first, languages_of, weights = _table(languages)
    split = pc.utf8_split_whitespace(pc.utf8_lower(captions))
    places = pc.index_in(pc.utf8_trim(split.flatten(), MARKS), words)
    hits = np.flatnonzero(pc.is_valid(places).to_numpy(zero_copy_only=False))
    found = places.take(pa.array(hits)).to_numpy()
    counts = np.diff(first).take(found)
    # Of each hit all votes, one behind the other.
    votes = np.arange(counts.sum()) + np.repeat(first.take(found) - np.cumsum(counts) + counts, counts)
    rows = np.repeat(pc.list_parent_indices(split).to_numpy()[hits], counts)
    result = np.zeros(len(captions) * len(languages), np.float32)
    np.add.at(result, rows * len(languages) + languages_of.take(votes), weights.take(votes))
    return result.reshape(len(captions), len(languages))
