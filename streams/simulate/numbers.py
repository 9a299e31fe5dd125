"""Outside numbers with right check digits, unique within one simulated world (domain 4.1)."""
from __future__ import annotations

import random
from datetime import UTC, datetime

from stdnum import iso6346, luhn
from stdnum.cn import uscc

from topics.identifiers import ISO6346

OWNERS = ("XQRU", "XVKU", "XKTU", "XWZU", "XJLU")
"""Fictitious owner codes: none of them is a carrier's."""
USCC_CHARS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
MRN_CHARS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
MRN_LETTERS = {"transit": "J", "next_transit": "J", "ens": "T", "import": "R", "warehouse": "R", "export": "A", "reexport": "B", "exs": "A"}
"""Procedure letter at place 17 of an MRN (J-M is transit in NCTS P5 [M]; the others [M])."""
_STEP = 611_953
"""Coprime to a million: serial numbers look scattered and never repeat within a million."""


class Numbers:
    """One counter per kind of number, started at random places."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._counts: dict[str, int] = {}

    def _next(self, kind: str, modulus: int = 1_000_000) -> int:
        if kind not in self._counts:
            self._counts[kind] = self._rng.randrange(modulus)
        self._counts[kind] += 1
        return self._counts[kind] * _STEP % modulus

    def container(self) -> str:
        """ISO 6346."""
        turn = self._counts["container turn"] = self._counts.get("container turn", -1) + 1
        owner = OWNERS[turn % len(OWNERS)]
        body = f"{owner}{self._next(owner):06d}"
        return body + str(iso6346.calc_check_digit(body))

    def wagon(self, gauge: int, country: str) -> str:
        """A container flat wagon: 7 digits in China, 8 on 1520 mm, 12 (UIC) elsewhere."""
        if country == "CN":
            return f"5{self._next('wagon CN'):06d}"
        if gauge == 1520:
            body = f"9{self._next('wagon 1520'):06d}"
        else:
            body = f"3151{4_550_000 + self._next('wagon UIC', 400_000):07d}"
        return body + str(luhn.calc_check_digit(body))

    def train(self, railway: str, digits: int) -> int:
        """A train number of a railway, without its first character; unique within ten to that power trains."""
        return self._next(f"train {railway}", 10**digits)

    def smgs(self) -> str:
        """№ отправки, 8 digits."""
        return f"{30_000_000 + self._next('smgs', 9_000_000):08d}"

    def mrn(self, kind: str, country: str, at: int) -> str:
        """Movement reference number of the EU and the common transit convention."""
        serial = self._next("mrn", 1_000_000)
        tail = "".join(self._rng.choice(MRN_CHARS) for _ in range(6))
        body = f"{_utc(at):%y}{country}{tail}{serial:06d}{MRN_LETTERS.get(kind, 'K')}"
        return body + str(sum(ISO6346[char] << i for i, char in enumerate(body)) % 11 % 10)

    def pi(self, country: str, at: int) -> str:
        """ПИ registration `XX/DDMMYY/NNNNNNNNN` (S16)."""
        return f"{country}/{_utc(at):%d%m%y}/{self._next('pi'):09d}"

    def eaeu(self, office: str, at: int) -> str:
        """EAEU declaration `customs/DDMMYY/NNNNNNN`."""
        return f"{office}/{_utc(at):%d%m%y}/{self._next('eaeu'):07d}"

    def chinese(self, office: str, at: int) -> str:
        """Chinese declaration: office, year, kind, nine digits: 18 digits [M]."""
        return f"{office[:4]:0<4}{_utc(at):%Y}1{self._next('cn declaration'):09d}"

    def local(self, party: str) -> str:
        """A filer's own reference (LRN), at most 22 characters."""
        return f"{party[:8].upper().replace('-', '')}{self._next('lrn', 100_000_000):08d}"

    def official(self, authority: str, kind: str, at: int) -> str:
        """Registration number of an authority whose format is not published [D]."""
        return f"{authority}{_utc(at):%y%m%d}{kind[:3].upper()}{self._next('official'):06d}"

    def reference(self, authority: str) -> str:
        """An authority's own reference of a demand."""
        return f"{authority}-{self._next('reference', 10_000_000):07d}"

    def seal(self, chain: str) -> str:
        """A seal or lock number."""
        prefix = {"customs_lock": "SL", "bolt": "HB", "zpu": "LK", "navigation": "NV"}[chain]
        return f"{prefix}{self._next('seal ' + chain):07d}"

    def uscc(self) -> str:
        """Unified social credit code of a fictitious Chinese trader."""
        body = "91" + f"{self._rng.choice((310000, 500000, 510100, 610100, 650000)):06d}"
        body += "MA" + "".join(self._rng.choice(USCC_CHARS) for _ in range(7))
        return body + str(uscc.calc_check_digit(body))

    def eori(self, country: str) -> str:
        """EORI number; no check digit is defined."""
        return f"{country}{self._next('eori', 1_000_000_000):012d}"

    def aeo(self) -> str:
        """AEO code as China Customs gives it abroad (S94)."""
        return f"AEOCN{self._next('aeo', 10_000_000_000):010d}"


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
