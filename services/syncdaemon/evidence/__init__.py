"""What a third party can check: the tree over the ledger's rows, signed checkpoints, and proofs of single rows.

The formats are those of C2SP (https://c2sp.org, read at 5ba5ee83), so that tools which are not ours can read them. To
check a proof in a program of yours, see `proofs.verify_proof`.
"""
