"""Boilerplate: what a page says around its pictures: menus, notices, error pages, shop furniture."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names menus, error messages and duplicate text; the patterns are ours"
MENU_WORD = r"(?:home|about(?: us)?|contact(?: us)?|login|log in|sign (?:in|up)|register|blog|news|shop|cart|products|services|faq|help|search|menu|sitemap|privacy(?: policy)?|terms|gallery|首页|关于我们|联系我们|登录|注册|新闻|产品|服务|startseite|impressum|kontakt|accueil|inicio|contacto)"

RULES = [
    Rule(
        name="boilerplate.menu",
        columns=("caption",),
        drops=matches(
            rf"(?i)(?:^|[|»›>/·•,\s]){MENU_WORD}\s*[|»›>/·•]\s*(?:[^|»›>/·•]{{1,30}}[|»›>/·•]\s*)*{MENU_WORD}(?:$|[|»›>/·•\s])"
        ),
        catches="navigation: two menu words or more between separators",
        origin=ORIGIN,
        kept={"caption": "Menu board at a café | Lisbon"},
        dropped={"caption": "Home | About us | Products | Contact"},
    ),
    Rule(
        name="boilerplate.error_page",
        columns=("caption",),
        drops=matches(
            r"(?:^|[:\s-])(?:error )?(?:40[0-9]|50[0-9])[\s:–-]*(?:not found|forbidden|bad request|unauthorized|internal server error|bad gateway|service unavailable|gateway time-?out|error)",
            r"^(?:the )?(?:page|file|image|resource)[^.]{0,30}(?:not (?:be )?found|no longer available|does not exist)",
            r"access denied",
            r"^internal server error",
            r"页面不存在",
            r"找不到(?:该)?页面",
            r"服务器错误",
            ignore_case=True,
        ),
        catches="HTTP and server messages",
        origin=ORIGIN,
        kept={"caption": "A lost hiker finds the 404 bus stop"},
        dropped={"caption": "404 Not Found - nginx"},
    ),
    Rule(
        name="boilerplate.notice",
        columns=("caption",),
        drops=matches(
            r"(?:this (?:site|website)|we) uses? cookies",
            r"accept (?:all )?cookies",
            r"cookie (?:policy|settings|consent)",
            r"all rights reserved",
            r"^\s*(?:copyright|©|\(c\))\s*(?:©\s*)?(?:19|20)\d\d",
            r"javascript (?:is )?(?:disabled|required|must be enabled)",
            r"版权所有",
            r"本站使用cookie",
            r"diese (?:web)?seite verwendet cookies",
            r"ce site utilise des cookies",
            ignore_case=True,
        ),
        catches="cookie, copyright and browser notices",
        origin=ORIGIN,
        kept={"caption": "Cookies on a baking tray"},
        dropped={"caption": "This website uses cookies to improve your experience"},
    ),
    Rule(
        name="boilerplate.call_to_action",
        columns=("caption",),
        drops=matches(
            r"click (?:here|image|on image|photo|picture|to (?:enlarge|view|zoom|expand|see))",
            r"(?:tap|hover|roll over) (?:image )?to (?:enlarge|zoom|view)",
            r"image may contain",
            r"add to (?:cart|basket|bag|wish ?list)",
            r"(?:free shipping|buy now|sold out|in stock)[ !.|,-]",
            r"subscribe to our newsletter",
            r"share (?:this )?on (?:facebook|twitter|pinterest)",
            r"点击(?:查看|放大|图片)",
            r"加入购物车",
            r"klicken sie",
            r"cliquez (?:ici|sur)",
            r"haga clic",
            ignore_case=True,
        ),
        catches="click to enlarge, add to cart, image may contain …",
        origin=ORIGIN,
        kept={"caption": "A beetle on a leaf clicks to escape"},
        dropped={"caption": "Click to enlarge image DSC-22"},
    ),
]
