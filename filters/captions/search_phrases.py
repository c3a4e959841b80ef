"""Phrases that no reader needs: those that pages repeat to be found, wholesalers add to the name of a product, and spam is made of."""

from __future__ import annotations

from filters.captions.keywords import ORIGIN
from filters.rules import Rule, matches

SEARCH = (
    r"\b(?:images?|ideas?|pins?|photos|pictures)\b.{0,80}\bon pinterest\b|\bpinterest\b.{0,30}\b(?:images|ideas|pins)\b|\b(?:best|cool|top) \d+\+? .{3,60} ideas on\b",
    r"^\W*(?:large|medium|small|full|big|thumbnail) (?:size|resolution) of\b|\bthumbnail size\b|\((?:view|photo|image|picture|gallery|slide) \d+ of \d+\)",
    r"[.,:] (?:home|interior|house|garden|kitchen) (?:design|decor(?:ating|ation)?) ideas\W*$|\bdesign ideas \w*digs\b|\bpertaining to \d|\bmost (?:recently released|up-to-date|current|popular) .{0,60}\(view\b",
    r"\b(?:wiring|engine|fuse box|circuit) diagram\b.*\b(?:likewise|moreover|besides|in addition|together with|furthermore|as well as)\b|\b(?:likewise|moreover|besides|furthermore) (?:\d|[A-Z]\w+ [A-Z]).*\bdiagram\b",
    r"\b(?:probably|possibly) (?:containing|with) .{3,80} (?:entitled|titled|called)\b|^\W*image is loading\b|^\W*google image result\b|^\W*image results? for\b|^\W*(?:related|similar) image\W*$|\bcheck more at http",
    r"\b(?:shops?|stores?|coupons?|services?|repairs?|delivery|rentals?|jobs|classes|restaurants?|doctors?|dentists?|hotels?|salons?|spas?|deals|plumbers?|cafes?|gyms?|sale|open) near me\b",
    r"\bkeygen\b|\b(?:serial|license|activation|product) (?:key|code)s?\b.{0,30}\b(?:crack|patch|free|download|full|generator)|\b(?:crack|patch)(?:ed)?\b.{0,40}\b(?:(?:license|serial|activation|product) (?:license )?(?:keys?|codes?|numbers?)|full version|free download|torrent)\b|\bfull version\b.{0,15}\b(?:crack|free|download)|\bfull crack\b|\b(?:mod|hacked) apk\b|\bapk (?:mod|download)\b|\b(?:apk|nulled|torrent|repack|iso|rgh|jtag)\b.{0,40}\bdownload\b|\bdownload\b.{0,40}\b(?:apk|torrent|crack|nulled|full version)\b|\b(?:jtag|rgh)\b.{0,20}\biso\b",
    r"\bfull (?:movie|album|episode)s?\b.{0,25}\b(?:download|online|free|watch|hd|torrent)\b|\bwatch\b.{0,60}\bonline (?:free|for free|hd)\b|\bwatch free\b.{0,40}\bonline\b|\b(?:hindi|tamil|telugu|dual audio)\b.{0,25}\b(?:dubbed|dvdrip|720p|480p|1080p|bluray)\b|\b(?:1080p?|720p?|480p?|dvdrip|bdrip|webrip|hdrip|x264|x265|xvid|yify|yts)\b.{0,20}\b(?:720p?|480p?|420p?|dvdrip|bdrip|webrip|hdrip|x264|x265|xvid|yify|yts|torrent|download)\b|\b(?:mp3|ringtone|song|lagu|video song)s? (?:free )?download\b|\bdownload (?:lagu|mp3|video|ringtone|driver)\b",
    r"\b(?:essay|assignment|homework|dissertation|coursework|thesis|term paper) (?:help|writing (?:service|help)|writers? (?:online|service)|for sale)|\b(?:write|buy|do) (?:my|an?) (?:essay|paper|homework|assignment|dissertation)\b",
    r"\b(?:http|https|www)\s+\w+\s+(?:com|net|org|co|info|me|ua)\b| rh \w+ (?:com|net|org|co|info|od)\b|\bwww\s+period\b|\bhttp www\b|\bquot http\b",
    r"\b(?:descargar|baixar|télécharger|herunterladen|indir|unduh|scaricare|pobierz|скачать)\b.{0,80}\b(?:gratis|gratuite?(?:ment)?|kostenlos|completo|crack|torrent|full|apk|iso|mp3|pc|xbox|windows|bedava|ücretsiz|za darmo|торрент|бесплатно|mp3|apk)\b|\b(?:ver|assistir|regarder|streaming)\b.{0,60}\b(?:online (?:gratis|grátis|completa|dublado)|streaming (?:vf|gratuit|complet)|película completa|filme completo|film complet)\b",
    r"(?:смотреть|скачать)\s.{0,60}(?:онлайн|бесплатно|торрент|в хорошем качестве)|(?:免费|高清|在线)(?:下载|观看|播放)|破解版|注册机|激活码|迅雷下载|百度云|网盘|汉化版下载|無料ダウンロード|동영상 다시보기|무료 다운로드|토렌트",
    r"\b\d+\+? (?:best|besten|trendy|cool|meilleures?|migliori|mejores|melhores|beste)\b.{0,60}\b(?:images?|ideas?|bilder|idées?|immagini|idee|imágenes|ideias?|imagens|afbeeldingen)\b.{0,60}(?:\||\bin 20\d\d|\bpinterest)|\b(?:best|besten|migliori|mejores|melhores|beste|meilleures) \d+ (?:images?|ideas?|bilder|immagini|imágenes|ideias|afbeeldingen)\b|^\W*\d+ (?:meilleures images|ideas de|ideias de|idées de|besten bilder|beste afbeeldingen)\b|^\W*\d+ фото на тему|^\W*(?:die|le|de|las?|os|as|les) \d+ (?:besten bilder|migliori immagini|beste afbeeldingen|mejores imágenes|melhores imagens|meilleures images)\b|のアイデア \d+ ?件",
    r"\b(?:coupon|promo(?:tional)?|discount|voucher|referral|cashback) codes?\b|\bcoupons?\b.{0,40}\b(?:printable|\d+ ?% off|off|exp(?:ires)?|retailmenot|verified)\b|\b\d+ ?% off\b.{0,40}\bcoupons?\b|\brabattcodes?\b|\bgutscheincodes?\b|\bc[óo]digo promocional\b|\bcup[óo]n (?:de )?descuento\b|\bcupom de desconto\b|\bcodice sconto\b|\bcodes? promo\b|\bkortingscodes?\b|промокод|\bkod rabatowy\b|\bindirim kodu\b|优惠码|クーポンコード",
    r"(?:^|\s)\S*(?:图片|大全|效果图|价格|多少钱|下载|免费|最新|推荐|批发|厂家|怎么|教程|壁纸|头像|报价|哪家好|排行榜|素材|攻略|高清)\S*(?:\s+\S+){1,12}\s+\S*(?:图片|大全|效果图|价格|多少钱|下载|免费|最新|推荐|批发|厂家|怎么|教程|壁纸|头像|报价|哪家好|排行榜|素材|攻略|高清)",
    r"(?:^|\s)\S*(?:おすすめ|人気|ランキング|無料|安い|簡単|作り方|口コミ|激安|通販|画像|壁紙|値段|料金|シンプル|トレンド|かわいい|おしゃれ|高画質|テンプレート|ダウンロード|やり方|最新|比較)\S*(?:\s+\S+){1,14}\s+\S*(?:おすすめ|人気|ランキング|無料|安い|簡単|作り方|口コミ|激安|通販|画像|壁紙|値段|料金|シンプル|トレンド|かわいい|おしゃれ|高画質|テンプレート|ダウンロード|やり方|最新|比較)(?:\s|$|\S*\s)|(?:^|\s)\S*(?:추천|가격|후기|비용|무료|비교|다시보기|모음|잘하는곳|견적|이벤트|부작용)\S*(?:\s+\S+){0,12}\s+\S*(?:추천|가격|후기|비용|무료|비교|다시보기|모음|잘하는곳|견적|이벤트|부작용)",
    r"\b(?:cheats?|trainer)\b.{0,30}\b(?:xbox|ps[345]|pc|android|ios|infinite|unlimited)\b|\b(?:coins?|gems?|v ?bucks|gift ?cards?) generator\b|\bno (?:human )?verification\b|\banswers? keys?\b.{0,30}\b(?:pdf|grade|chapter|unit|page)\b|\b(?:pdf|epub|mobi)\b.{0,30}\b(?:free download|download free|torrent|epub|mobi)\b|\bzip album\b|\bmediafire\b|\bmega link\b|\bkmspico\b|\bkey generator\b",
)
PEOPLE = r"(?:women|womens|men|mens|ladies|girls|boys|kids|children|child|teens?|teenagers?|babies|unisex)"
SHOP = (
    # "Buy Cotton Scarf, Navy Online at shop.com": the title of a shop's page
    r"^\W*(?:buy|shop|order) .{3,120}\bonline(?: (?:at|from|in|on|with) \S.{0,40})?\W*$|\bonline (?:kaufen|bestellen)(?: (?:bei|im) \S.{0,30})?\W*$",
    r"^\W*(?:comprar?|acheter|acquista|купить) .{3,120}\s(?:online|on line|en ligne|онлайн)(?: (?:en|sur|su|em|в) \S.{0,40})?\W*$",
    r"\bpictures? (?:&|and|&amp;) photos?\W*$|\(china \((?:mainland|taiwan)\)\)\W*$|\b(?:from|made in) china (?:suppliers?|manufacturers?|factory)\b|^\W*china (?:suppliers?|manufacturers?|factory|wholesale)\b|\bchina (?:suppliers|manufacturers|wholesale)\b|\b(?:suppliers?|manufacturers?|exporters?)\W*(?:&|and|,)\s*(?:suppliers?|manufacturers?|exporters?|factor(?:y|ies))\b",
    r"\b\d+ ?(?:pcs?|pieces?|pairs?|sets?) ?/ ?(?:lot|bag|pack)\b|\bfree ?ship(?:p)?ing\b|\bdrop ?ship(?:ping)?\b|\bno moq\b|\bretail ?(?:&|and) ?wholesale\b|\bwholesale ?(?:&|and) ?retail\b",
    r"\bhot[- ]?(?:sale|sell|selling|sales)\b|^\W*best sales?\b|\bfactory (?:wholesale|price|direct(?:ly)? sale|outlet price|supply)\b|\b(?:wholesale|cheap|discount|lowest) prices?\b|\bbuy (?:cheap|discount|wholesale)\b|^\W*(?:cheap|discount) -|\bwholesale lots?\b|\bcheap\b.{0,40}\b(?:wholesale|china|jerseys?|for sale)\b|^\W*wholesale (?:\S+ ){3}|\brepack by\b|\bhigh quality\b.{0,60}\b(?:wholesale|manufacturers?|suppliers?)\b",
    rf"^\W*(?:new arrivals?|hot|2\d{{3}} new|new 2\d{{3}}) .{{0,60}}\b(?:brand|quality|fashion|style|women|men|custom)\b.{{0,80}}\b(?:for|style|women|men|dress|shoes|bag)\b|\bfor {PEOPLE} {PEOPLE}\b|\b{PEOPLE} {PEOPLE}\b.*\b{PEOPLE} {PEOPLE}\b",
    r"großhandel.{0,40}(?:china|fabrik|preis|günstig)|(?:günstig|billig) (?:kaufen|online|bestellen)\b|(?:comprar|compre) .{0,60}(?:barat[oa]s?|al por mayor|online|atacado)|al por mayor.{0,40}(?:china|barat|fabricante|proveedor)|pas cher.{0,30}(?:chine|livraison|vente|achat|en ligne)|(?:achat|acheter|vente) .{0,60}pas cher|in vendita a prezzi? bass|prezzo più basso|купить .{0,60}(?:недорого|дешево|дёшево|по (?:низкой |выгодной )?цене|оптом|с доставкой|в интернет)|оптом (?:от|из) |(?:интернет[- ]магазин|цена).{0,40}купить|купить в (?:москве|интернет|спб|украине)|satın al\b.{0,30}(?:ucuz|fiyat)|tanie .{0,30}sklep",
    r"(?:厂家|批发|代理|加盟|供应).{0,16}(?:价格|直销|批发|电话|报价|热线|厂家|供应商)|(?:价格|报价|多少钱).{0,12}(?:厂家|批发|图片|供应)|(?:淘宝|天猫|京东).{0,10}(?:优惠券|旗舰店.{0,6}包邮)|(?:最安値|激安|格安).{0,16}(?:通販|販売|価格)|(?:通販|販売).{0,10}(?:最安値|激安|格安)|최저가|(?:도매|공장).{0,8}(?:가격|직판)|بسعر الجملة|سعر المصنع|सबसे कम (?:कीमत|दाम)",
)
WHOLESALERS = r"(?i)^\W*wholesale (?:\S+ ){0,2}(?:markets?|prices?|clubs?|stores?|trade|districts?|grocers?|baker(?:y|ies)|business|customers?|nurser(?:y|ies)|warehouse)\b"

SPAM = (
    r"\b(?:viagra|cialis|levitra|modafinil|tramadol|xanax|phentermine|виагра|сиалис)\b.{0,60}\b(?:online|buy|cheap|prescription|overnight|receta|ricetta|rezept|ordonnance|contrareembolso|pharmacy)\b|\b(?:buy|order|cheap|comprar|acheter|kaufen)\b.{0,30}\b(?:viagra|cialis|levitra|modafinil|tramadol|xanax|phentermine)\b|виагра|дженерик.{0,30}(?:рецепт|доставк)|\bno prescription\b",
    r"\bcasinos?\b.{0,50}\b(?:bonus|bonos|bono|free spins|no deposit|slots online|real money|sin dep[óo]sito|tragamonedas|ohne einzahlung)\b|\bfree spins\b|\bno deposit\b|\bcassino online\b|\brodadas grátis\b|казино.{0,40}(?:бонус|деньги|вулкан|онлайн|зеркал)|\bonline pokies\b|\bpokies\b.{0,20}\b(?:mobile|online|free)\b|토토사이트|먹튀|안전놀이터|百家乐|棋牌.{0,20}(?:注册|官网|app)|(?:双色球|大乐透|时时彩|六合彩).{0,30}(?:预测|走势|必中|开奖)|彩金|提现秒到",
    r"\b(?:meet|find|date|hot)\b.{0,20}\bsingles\b.{0,40}\b(?:tonight|free|area|online)\b|\bsingles in your area\b|\bdating sites?\b.{0,40}\bfree\b|\bfree live cams?\b|\blive cam\b.{0,20}\bchat\b|\bcall girls?\b.{0,40}\b(?:service|escorts?|24|in)\b|\bescorts?\b.{0,30}\b(?:call girls?|services?|annunci|vip|24)\b|\bsexy kontakte\b|\bplan (?:ce soir|cul)\b|\brencontre (?:gratuite|coquine)\b|\bacompanhantes\b.{0,30}\b(?:whatsapp|fotos|gostosas)\b|\bonlyfans\b.{0,30}\b(?:leak\w*|mega)\b|\bleaked\b.{0,20}\b(?:nudes?|pics|onlyfans)\b|\bwardrobe malfunction\b.{0,30}\b(?:uncensored|pics)\b",
    r"\breplica (?:handbags?|watch(?:es)?|belts?|shoes|bags?|aaa|outlet|rolex)\b|\b(?:belts?|bags?|shoes|watches)\b.{0,20}\breplica\b|\boutlet (?:online )?(?:store|sale)\b.{0,30}\b(?:cheap|uk|usa|sale)\b|\bcheap sale\b|\b(?:payday|personal|bad credit) loans?\b.{0,40}\b(?:bad credit|online|no credit check|approval|rates)\b|\bbad credit\b.{0,20}\bloans?\b|スーパーコピー|N級品|高仿|一件代发|贷款.{0,20}(?:抵押|秒批|放款|身份证)|黑户|自動売買.{0,20}(?:月利|勝率)",
    r"(?:批发|代购|货源|高仿|原单|减肥|增高|祛斑|兼职|刷单).{0,20}(?:微信|QQ|VX|加V)\s*[:：]?\s*[\w-]{4,}|先聊聊|下單前|滿千折百|算命.{0,12}(?:免费|免費)|周公解梦|吉凶.{0,12}(?:吉凶|算命)",
)

RULES = [
    Rule(
        name="keywords.search_phrases",
        columns=("caption",),
        drops=matches(*SEARCH, ignore_case=True),
        catches="phrases that pages repeat to be found: images on pinterest, full movie download, coupons near me, essay help",
        origin=ORIGIN,
        kept={"caption": "A pinterest board on a laptop in a living room"},
        dropped={"caption": "96 best garden images on pinterest"},
    ),
    Rule(
        name="keywords.shop",
        columns=("caption",),
        drops=matches(*SHOP, ignore_case=True, unless=[WHOLESALERS]),
        catches="what wholesalers add to the name of a product: hot sale, 10pcs/lot, factory price, pictures & photos",
        origin=ORIGIN,
        kept={"caption": "Wholesale flower market in Amsterdam"},
        dropped={"caption": "Soft foam mattress making glue pictures & photos"},
    ),
    Rule(
        name="keywords.spam",
        columns=("caption",),
        drops=matches(*SPAM, ignore_case=True),
        catches="advertisements of pharmacies, casinos, escorts, lenders and sellers of replicas",
        origin=ORIGIN,
        kept={"caption": "The casino of Monte Carlo at night"},
        dropped={"caption": "casino bonus no deposit free spins 2020"},
    ),
]
