"""Leader gradient identification (LGI) and gradient direction alignment (GDA) of GAPSL, from one Gram matrix.

Source: Lin, Aouedi, Ni, Chatzinotas, Chen, "GAPSL", arXiv 2603.18540: Algorithm 1 with Eq 1 to 4, Algorithm 2 with
Eq 5 to 8. Let A be the S x D matrix whose row i is client i's gradient g_i of the server-side model. Every function
here sees only G = A A^T (ours): all angles between clients are in G; those to the leader, the mean over a chosen
set C, follow from <g_i, g_lead> = mean over j in C of G_ij and |g_lead|^2 = mean over j, k in C of G_jk; and the
update is A^T w with the weights w that `align` returns. The leader itself is never formed.

Footnote 6 of the paper treats g_i and g_lead as constants in Eq 7, whose regulariser lam * (1 - cos theta_lead_i)
then has no gradient: lam drops out, and what is left of GDA is which clients it selects. That is the default. Two
other readings are here: `steered` turns each selected gradient itself toward the leader (`steered_weights`), and
`regulariser` gives what is needed to differentiate Eq 7 as it stands, through the gradients.

Angles are in radians. Cosines are clamped to [-1, 1]; a gradient of norm 0 stands at pi/2 to every other (ours).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Clients = NDArray[np.intp]

# Angles nearer to each other than this count as equal (ours). The arccosine turns the rounding of a cosine near 1
# into 1e-8 even in double precision, and without a tolerance it would decide between clients that tie.
ANGLE_DIGITS = 6
ANGLE_TOLERANCE = 10.0**-ANGLE_DIGITS
CANCELLED = 1e-12  # of the leaders' largest squared norm


@dataclass(frozen=True)
class Rules:
    """What the paper leaves open, and its ablations.

    `leader`: who makes the leader: `consistent` (Eq 3), `all` (the paper's Non-LGI) or `random`, as many as Eq 3 would
    take (Rand-LGI). `selection`: what the update is made of: `threshold` (Eq 6), `leader`, the leader's gradient alone
    (Non-GDA), or `random`, as many clients as Eq 6 would take (Rand-GDA).
    `update`: Eq 8 as the `mean` over the selection (ours) or as the `sum` it is. `steered`: see `steered_weights`.
    """

    eta: float = -1.0
    k_min: float = 0.2
    k_max: float = 0.8
    lam: float = 5e-4
    leader: Literal["consistent", "all", "random"] = "consistent"
    selection: Literal["threshold", "leader", "random"] = "threshold"
    update: Literal["mean", "sum"] = "mean"
    steered: bool = False


@dataclass
class Bounds:
    """nu_min and nu_max of Eq 2: the running extremes of the dispersion, this round's included."""

    low: float = field(default=math.inf)
    high: float = field(default=-math.inf)

    def include(self, dispersion: float) -> None:
        """Widen the bounds to this round's dispersion."""
        self.low = min(self.low, dispersion)
        self.high = max(self.high, dispersion)


@dataclass(frozen=True)
class Alignment:
    """What LGI and GDA decide in one round.

    `weights` (S,): the update of the server-side model is A^T weights. `leaders` and `aligned`: positions, rising,
    of the clients that make the leader (C of Eq 3) and of those the update is made of (S_hat). `share` is K_t,
    `dispersion` nu, `mean_angle` the mean over all pairs of clients, `leader_angle` the mean of Eq 5, `limit` Eq 6.
    """

    weights: Vector
    leaders: Clients
    aligned: Clients
    share: float
    dispersion: float
    mean_angle: float
    leader_angle: float
    limit: float


def align(
    gram: Matrix, round: int, rounds: int, bounds: Bounds, rules: Rules, generator: np.random.Generator | None = None
) -> Alignment:
    """One round of Algorithms 1 and 2 on the S x S Gram matrix; `bounds` moves on by this round.

    `round` counts from 1 to `rounds`, the planned number (T of Eq 2). `generator` draws what the rules want random.
    """
    clients = len(gram)
    theta = scores(angles(gram))
    nu = dispersion(theta)
    bounds.include(nu)
    share = selection_share(round, rounds, nu, bounds, rules.k_min, rules.k_max)
    leaders = consistent(theta, share)
    if rules.leader == "all":
        leaders = np.arange(clients)
    elif rules.leader == "random":
        leaders = _drawn(generator, clients, len(leaders))
    to_leader = leader_angles(gram, leaders)
    limit = threshold(to_leader, rules.eta)
    aligned = selected(to_leader, limit)
    if rules.selection == "leader":
        # The leader's gradient is a mean, whatever Eq 8 is taken for.
        aligned, weights = leaders, mean_weights(clients, leaders)
    else:
        if rules.selection == "random":
            aligned = _drawn(generator, clients, len(aligned))
        weights = (
            steered_weights(gram, leaders, aligned, rules.lam) if rules.steered else mean_weights(clients, aligned)
        )
        if rules.update == "sum":
            weights = weights * len(aligned)
    return Alignment(
        weights, leaders, aligned, share, nu, float(theta.mean()), leader_angle=float(to_leader.mean()), limit=limit
    )


def angles(gram: Matrix) -> Matrix:
    """The S x S angles between the clients' gradients; 0 on the diagonal."""
    norms = np.sqrt(np.maximum(np.diag(gram), 0.0))
    between = np.arccos(_cosine(gram, np.outer(norms, norms)))
    np.fill_diagonal(between, 0.0)
    return between


def scores(between: Matrix) -> Vector:
    """Eq 1, consistency scores (S,): each client's mean angle to the others. One client alone scores 0 (ours)."""
    others = max(len(between) - 1, 1)
    theta: Vector = between.sum(axis=1) / others
    return theta


def dispersion(theta: Vector) -> float:
    """nu of Eq 2: the standard deviation of the scores over the clients (of the population)."""
    return float(np.std(theta))


def selection_share(t: int, rounds: int, nu: float, bounds: Bounds, k_min: float, k_max: float) -> float:
    """Eq 2: K_t, the share of the clients that make the leader.

    It grows with the rounds, and faster when the clients agree. While nu_max equals nu_min, as it must in round 1,
    Eq 2 is 0/0 and K_t is K_min (ours).
    """
    if bounds.high <= bounds.low:
        return k_min
    return k_min + t / rounds * (bounds.high - nu) / (bounds.high - bounds.low) * (k_max - k_min)


def consistent(theta: Vector, share: float) -> Clients:
    """Eq 3: the ceil(share * S) clients with the lowest scores; of equal ones those that come first (ours)."""
    # 0.2 * 5 must be one client, not two, whatever the last bit of the product says.
    count = min(max(math.ceil(share * len(theta) - 1e-9), 1), len(theta))
    order = np.argsort(np.round(theta, ANGLE_DIGITS), kind="stable")
    return np.sort(order[:count])


def leader_angles(gram: Matrix, leaders: Clients) -> Vector:
    """Eq 4 and 5, (S,): the angle between each client's gradient and the mean of the leaders' gradients."""
    _, _, cosines = _to_leader(gram, leaders)
    return np.arccos(cosines)


def threshold(to_leader: Vector, eta: float) -> float:
    """Eq 6: theta_th = max(min(mean - eta * std, pi/2), 0). The paper gives no eta; -1 by default (ours)."""
    return max(min(float(to_leader.mean() - eta * to_leader.std()), math.pi / 2), 0.0)


def selected(to_leader: Vector, limit: float) -> Clients:
    """S_hat of Eq 7: the clients within the threshold; if there is none, the closest client alone (ours)."""
    inside = np.flatnonzero(to_leader <= limit + ANGLE_TOLERANCE)
    return inside if len(inside) else np.array([np.argmin(np.round(to_leader, ANGLE_DIGITS))])


def mean_weights(clients: int, chosen: Clients | Sequence[int]) -> Vector:
    """Eq 8 as a mean: 1/|S_hat| for each client in S_hat, else 0.

    Ours: Eq 8 sums, which multiplies the learning rate by |S_hat| and diverges at PSL's rates.
    """
    weights = np.zeros(clients)
    weights[chosen] = 1.0 / len(chosen)
    return weights


def steered_weights(gram: Matrix, leaders: Clients, chosen: Clients, lam: float) -> Vector:
    """Eq 8 as a mean over gradients that are themselves turned toward the leader (ours).

    Each g_i of S_hat takes one step down the regulariser of Eq 7 seen as a function of g_i alone, in units of its
    own length: g_i + lam * |g_i| * (u_lead - cos theta_i * u_i), u being unit vectors. It turns by
    arctan(lam * sin theta_i) and keeps its part along itself. Where a norm is 0 there is nothing to turn.
    """
    weights = np.zeros(len(gram))
    norms, leader, cosines = _to_leader(gram, leaders)
    for i in chosen:
        weights[i] += 1.0
        if norms[i] > 0 and leader > 0:
            weights[i] -= lam * cosines[i]
            weights[leaders] += lam * norms[i] / leader / len(leaders)
    return weights / len(chosen)


def regulariser(gram: Matrix, leaders: Clients, chosen: Clients, lam: float) -> Matrix:
    """The derivatives of the regulariser R = lam * sum over i in S_hat of (1 - cos theta_lead_i), Eq 7 and 8.

    Row k of the S x S result V says how R changes with g_k, in terms of all gradients: dR/dg_k = A^T V_k. As each
    g_k is itself the gradient of L_k, the gradient of R by the weights is the sum over k of (Hessian of L_k) dR/dg_k:
    the double backpropagation of footnote 6. A client moves R by its own angle, and as one of the leaders by
    everyone's. Where a norm is 0 the angle is constant (ours).
    """
    clients = len(gram)
    norms, leader, cosines = _to_leader(gram, leaders)
    of_leader = np.zeros(clients)
    of_leader[leaders] = 1.0 / len(leaders)  # g_lead = A^T of_leader
    derivatives = np.zeros((clients, clients))
    by_leader = np.zeros(clients)
    for i in chosen:
        if norms[i] > 0 and leader > 0:
            own = np.eye(clients)[i]
            derivatives[i] -= lam * (of_leader / (norms[i] * leader) - cosines[i] * own / norms[i] ** 2)
            by_leader -= lam * (own / (norms[i] * leader) - cosines[i] * of_leader / leader**2)
    derivatives[leaders] += by_leader / len(leaders)
    return derivatives


def _to_leader(gram: Matrix, leaders: Clients) -> tuple[Vector, float, Vector]:
    """The norms of the gradients and of the leader, and their cosines."""
    norms: Vector = np.sqrt(np.maximum(np.diag(gram), 0.0))
    squared = float(gram[np.ix_(leaders, leaders)].mean())
    # Leaders that cancel out leave a leader of rounding errors, whose direction means nothing: norm 0 (ours).
    leader = math.sqrt(squared) if squared > CANCELLED * float(norms[leaders].max()) ** 2 else 0.0
    return norms, leader, _cosine(gram[:, leaders].mean(axis=1), norms * leader)


def _drawn(generator: np.random.Generator | None, clients: int, count: int) -> Clients:
    assert generator is not None, "a random choice needs a generator"
    return np.sort(generator.choice(clients, count, replace=False))


def _cosine(inner: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines from inner products and products of norms; 0 where a norm is 0."""
    cosine = np.divide(inner, norms, out=np.zeros_like(inner), where=norms > 0)
    return np.clip(cosine, -1.0, 1.0)
