"""Boilerplate that is nobody's caption: credits alone, links to pages and profiles, buttons, and the text of slides and tables.

A credit behind a caption was cut before any rule sees it; these are what is left where there was nothing else.
"""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names boilerplate; the patterns are ours"

PICTURE = r"(?:photo(?:graph|graphy|s)?|images?|pictures?|pics?|illustration|video|fotos?|fotografía|fotografia|photographie|bild(?:er)?|imagen|imagem|immagine|zdjęcie|фото|фотография|изображение)"
AGENCY = r"(?:efe|afp|apa?|dpa|epa|ansa|upi|reuters|getty(?: ?images)?|istock(?:photo)?|shutterstock|alamy|dreamstime|adobe ?stock|fotolia|depositphotos|123rf|pixabay|unsplash|pexels|flickr|wikimedia(?: commons)?|wikipedia|facebook|instagram|twitter|youtube|imago(?: images)?|picture[- ]alliance|keystone|ap photo|afp photo|tass|тасс|риа новости|xinhua|yonhap|belga|ritzau|scanpix|tt|ntb|lehtikuva|pap|mti|archivo?|archive|archiv|privat|private|handout|pressefoto|courtesy|internet)"
NAME = r"\p{Lu}[\pL.'’-]*"
NETWORK = r"(?:facebook|instagram|twitter|youtube|pinterest|linkedin|tik ?tok|tumblr|vimeo|whatsapp|telegram|snapchat|flickr|google ?\+|google plus|reddit|vk|вконтакте|одноклассники|xing|twitch|spotify|soundcloud|itunes|apple podcasts)"
PROFILES = r"facebook|instagram|twitter|linkedin|tik ?tok|whatsapp|telegram|snapchat|google ?\+|vk|вконтакте|одноклассники|xing|twitch"

CREDITS = (
    rf"(?i)^\W*(?:{PICTURE}s?\W{{0,3}})?(?:by|von|par|di|por|af|av|door|credit|credits|courtesy(?: of)?|source|quelle|fuente|fonte|bron|cortesía(?: de)?|crédits?|bildnachweis|copyright|via|foto|photo|©|/|:|\||=|-|–|\s)*\W*{AGENCY}(?:\W+{AGENCY})*\W*$",
    rf"^\W*(?i:{PICTURE}s?)\W{{0,3}}(?i:by|von|par|credits?|courtesy(?: of)?|cortesía|crédits?)\W{{1,3}}{NAME}(?:\W{{1,3}}(?:(?:de|von|van|der|del|la|le|bin|al|&|and)\s)?{NAME}){{0,4}}\W*$",
    rf"^\W*(?i:(?:photo|image|picture|foto|bild)\s)?(?i:credits?|courtesy(?: of)?|source|quelle|bildquelle|bildnachweis|fotonachweis|fuente|fonte|bron|crédits?(?: photos?)?|источник|автор фото)\s*[:：©/]\s*(?:\S+\s+){{0,5}}\S+\W*$",
    rf"^\W*(?i:{PICTURE})s?\s*[:：]\s*{NAME}(?:\s{NAME}){{0,3}}\s*/\s*[\pL .&'’/-]{{2,40}}$",
    r"(?i)^\W*(?:copyright|©|\(c\)|℗)[\s©:]*(?:by\s+)?(?:\d{4}[\s,–-]*)*(?:[\pL.'’&]+(?:[\s/,]+|-)){0,5}[\pL.'’&]*\s*(?:\d{4})?\W*$",
    r"^\W*(?:图片来源|图源|图片?出处|来源|摄影|摄|供图|图)\s*[:：/|]\s*\S{1,24}$|^\S{2,8}(?:供图|摄影|摄)$|^\W*(?:出典|写真提供|画像提供|写真|撮影|提供|画像引用元|引用元)\s*[:：/=]\s*\S.{0,30}$|^\W*(?:출처|사진\s*(?:제공|출처)|사진)\s*[:=/]\s*\S.{0,30}$|^\W*(?:تصوير|المصدر|مصدر الصورة)\s*[:：]\s*.{2,40}$|^\W*(?:स्रोत|साभार|फोटो साभार)\s*[:：-]\s*.{2,40}$",
)

LINKS = (
    rf"^\W*(?:(?i:the|der|die|das|le|la|les|el|los|il|o|a|os|as)\s+)?(?:{NAME}\s+){{1,3}}(?i:on|auf|sur|en|no|na|su|op|på|i|в|w|bei)\s+(?i:{PROFILES})\W*$",
    rf"(?i)^\W*(?:follow|find|like|join|visit|share|watch|subscribe|teilen|folge|folgen|besuchen|partager|suivez?|compartir|sigue|seguir|síguenos|compartilhar|condividi|seguici|поделиться|подписаться)\b.{{0,40}}\b{NETWORK}\W*$",
    rf"(?i)^\W*(?:official\s+)?{NETWORK}\s+(?:logo|icon|page|profile|link|button|account|share|seite|profil|symbol|icono|página|perfil|pagina)s?\W*$",
    r"(?i)^\W*(?:go to|visit|back to|return to|link to|link|zur|zurück zur|weiter zur|retour à|aller à|voir|ir a|volver a|ir para|voltar para|vai alla|torna alla)\b.{0,60}\b(?:page|home ?page|website|web ?site|profile|seite|startseite|homepage|page d['’]accueil|página|perfil|site|sito|pagina|profil)\W*$|(?i)^\W*(?:перейти на|на главную|перейти к).{0,40}$",
    r"(?i)^\W*(?:view|see|show|open|download|print|save|zoom|enlarge|expand|play|share|email|edit|delete|report|reply|buy|rent|book|order|reserve|preview|compare)\s+(?:(?:the|this|full|larger?|original|hi-?res|high[- ]res(?:olution)?|more|all|our|your|in|a|an|as|new)\s+){0,3}(?:image|photo|picture|video|pdf|size|gallery|album|slideshow|page|post|article|item|product|profile|details?|info(?:rmation)?|map|comments?|reviews?|window|tab|screen|fullscreen|catalogue?|brochure|ticket|tickets|now)s?\W*$",
    r"(?i)^\W*(?:bild|foto|galerie|video|karte|alle bilder|mehr bilder)\s+(?:vergrößern|öffnen|anzeigen|ansehen|herunterladen|teilen)\W*$|^\W*(?:agrandir|afficher|télécharger|ouvrir|voir)\s+(?:l['’]|la |le |les |toutes les )?(?:image|photo|photos|vidéo|galerie|carte|diaporama)\W*$|^\W*(?:ver|ampliar|abrir|descargar|baixar|ampliar)\s+(?:la |el |a |o |todas las |mais |más )?(?:imagen|foto|fotos|galería|vídeo|video|mapa|imagem|galeria)\W*$|^\W*(?:vedi|apri|ingrandisci|scarica)\s+(?:l['’]|la |il |tutte le )?(?:immagine|foto|galleria|video|mappa)\W*$|^\W*(?:увеличить|открыть|смотреть|скачать|показать)\s+(?:все )?(?:фото|фотографи[юи]|изображени[ея]|картинку|видео|галерею)\W*$",
)

SLIDES = (
    r"(?:(?:^|[\s:;.])(?:[–▪►◦§●■➢✓❖¾Ø]\s?|-)\pL.*){3,}|(?:•\s?\S.*){4,}",
    r"\b\d+ (?:st|nd|rd|th) (?:\pL|\d)|^\S+ \S+ .*\b(?:Fig|Tab) \d+\. \p{Lu}",
    r"(?:\b\p{Lu} [\p{Lu}]{2,}\b.*){3,}",
    r"(?i)\b(?:slide|folie|diapositiva) \d+\s*(?:of|/|:|–|-)|^\s*\d{1,3}\s+(?:slide|chapter|lecture|module|section|unit)\s+\d+\b|\b(?:lecture|slide) \d+ (?:slide|lecture)\b|\b(?:power ?point|ppt) presentation\W*$|^\s*(?:chapter|lecture|module|unit) \d+\s*[:.-]?\s.{60,}(?:=|→|•|\?\s)",
    r"(?:[A-Z]\d[\d.]*\s?\p{Lu}\pL+.*){4,}|(?:\S*\*\S*\*\S*\s?){4,}",
)

RULES = [
    Rule(
        name="boilerplate.credit",
        columns=("caption",),
        drops=matches(*CREDITS),
        catches="nothing but a credit: who took, owns or sent the picture",
        origin=ORIGIN,
        kept={"caption": "Photo of a lighthouse by the sea, by Anna Weber"},
        dropped={"caption": "Photo by Anna Weber / Reuters"},
    ),
    Rule(
        name="boilerplate.link",
        columns=("caption",),
        drops=matches(*LINKS),
        catches="links to pages and profiles, and buttons of a gallery",
        origin=ORIGIN,
        kept={"caption": "A girl watches a video on YouTube in bed"},
        dropped={"caption": "Der Verein auf Instagram"},
    ),
    Rule(
        name="boilerplate.slide",
        columns=("caption",),
        drops=matches(*SLIDES),
        catches="the text of a slide, a table or a form, run together",
        origin=ORIGIN,
        kept={"caption": "A slide - a swing - a sandpit: the new playground"},
        dropped={"caption": "Support in high demand subjects –Students in math –Students in science –Full-time only"},
    ),
]
