// A judge of our notes, trees and proofs: Go's sumdb/note and sumdb/tlog behind a line of JSON for each question.
//
// Debian has both packages in golang-golang-x-mod-dev. Nothing here is used by the daemon.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Question is what a line of the input asks.
type Question struct {
	Op, Note, Vkey, Name, Dir        string
	Public, Row, Leaf, Root, OldRoot []byte
	Hashes                           [][]byte
	Index, Size, Old                 int64
	Proof                            []byte
	Entries                          [][]byte
	Seed                             []byte
}

// Answer is what a line of the output says.
type Answer struct {
	OK     bool
	Error  string   `json:",omitempty"`
	Text   string   `json:",omitempty"`
	Time   uint64   `json:",omitempty"`
	Note   string   `json:",omitempty"`
	Vkey   string   `json:",omitempty"`
	Hashes [][]byte `json:",omitempty"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var question Question
		var answer Answer
		if err := json.Unmarshal(line, &question); err != nil {
			answer.Error = "no question: " + err.Error()
		} else if answer, err = judge(question); err != nil {
			answer = Answer{Error: err.Error()}
		} else {
			answer.OK = true
		}
		said, _ := json.Marshal(answer)
		out.Write(append(said, '\n'))
		out.Flush()
	}
}

func judge(q Question) (Answer, error) {
	switch q.Op {
	case "note":
		verifier, err := note.NewVerifier(q.Vkey)
		if err != nil {
			return Answer{}, err
		}
		opened, err := note.Open([]byte(q.Note), note.VerifierList(verifier))
		if err != nil {
			return Answer{}, err
		}
		return Answer{Text: opened.Text}, nil
	case "cosignature":
		cosigner := newCosigner(q.Name, q.Public)
		_, err := note.Open([]byte(q.Note), note.VerifierList(cosigner))
		return Answer{Time: cosigner.time}, err
	case "inclusion":
		proof, root, leaf, err := hashes(q)
		if err != nil {
			return Answer{}, err
		}
		return Answer{}, tlog.CheckRecord(proof, q.Size, root, q.Index, leaf)
	case "consistency":
		proof, root, _, err := hashes(q)
		if err != nil {
			return Answer{}, err
		}
		var old tlog.Hash
		if copy(old[:], q.OldRoot) != len(old) || len(q.OldRoot) != len(old) {
			return Answer{}, errors.New("no hash")
		}
		return Answer{}, tlog.CheckTree(proof, q.Size, root, q.Old, old)
	case "proof":
		return checkProof(q)
	case "tiles":
		return Answer{}, readTiles(q)
	case "make":
		return makeLog(q)
	}
	return Answer{}, errors.New("unknown question")
}

func hashes(q Question) (proof []tlog.Hash, root, leaf tlog.Hash, err error) {
	for _, value := range q.Hashes {
		var hash tlog.Hash
		if copy(hash[:], value) != len(value) || len(value) != len(hash) {
			return nil, root, leaf, errors.New("no hash")
		}
		proof = append(proof, hash)
	}
	copy(root[:], q.Root)
	copy(leaf[:], q.Leaf)
	return proof, root, leaf, nil
}

// Cosigner verifies cosignature/v1, which sumdb/note does not know, for note.Open.
type Cosigner struct {
	name   string
	public ed25519.PublicKey
	hash   uint32
	time   uint64
}

func newCosigner(name string, public []byte) *Cosigner {
	sum := sha256.Sum256(append([]byte(name+"\n\x04"), public...))
	return &Cosigner{name, public, binary.BigEndian.Uint32(sum[:]), 0}
}

// Name is for note.Verifier.
func (c *Cosigner) Name() string { return c.name }

// KeyHash is for note.Verifier.
func (c *Cosigner) KeyHash() uint32 { return c.hash }

// Verify is for note.Verifier.
func (c *Cosigner) Verify(message, signature []byte) bool {
	if len(signature) != 72 {
		return false
	}
	c.time = binary.BigEndian.Uint64(signature)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", c.time, message)
	return ed25519.Verify(c.public, []byte(signed), signature[8:])
}

// checkProof takes a tlog-proof apart with Go's own means, and checks the row inside against the checkpoint.
func checkProof(q Question) (Answer, error) {
	head, signed, found := strings.Cut(string(q.Proof), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return Answer{}, errors.New("no proof")
	}
	row, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return Answer{}, err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return Answer{}, err
	}
	var proof []tlog.Hash
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return Answer{}, err
		}
		proof = append(proof, hash)
	}
	verifier, err := note.NewVerifier(q.Vkey)
	if err != nil {
		return Answer{}, err
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return Answer{}, err
	}
	size, root, err := checkpoint(opened.Text, verifier.Name())
	if err != nil {
		return Answer{}, err
	}
	return Answer{Text: string(row)}, tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(row))
}

func checkpoint(text, origin string) (int64, tlog.Hash, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return 0, tlog.Hash{}, errors.New("no checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return 0, tlog.Hash{}, errors.New("no size")
	}
	root, err := tlog.ParseHash(lines[2])
	return size, root, err
}

// Folder reads tiles as C2SP lays them out: as Go does, without the height in the path.
type Folder struct{ dir string }

// Height is for tlog.TileReader.
func (f Folder) Height() int { return 8 }

// SaveTiles is for tlog.TileReader.
func (f Folder) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles is for tlog.TileReader.
func (f Folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		content, err := os.ReadFile(f.path(tile))
		if err != nil {
			return nil, err
		}
		found = append(found, content)
	}
	return found, nil
}

func (f Folder) path(tile tlog.Tile) string {
	return filepath.Join(f.dir, "tile", strings.TrimPrefix(tile.Path(), "tile/8/"))
}

// readTiles makes proofs from the tiles of a folder. The reader holds each tile to the root.
func readTiles(q Question) error {
	_, root, leaf, err := hashes(q)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tlog.Tree{N: q.Size, Hash: root}, Folder{q.Dir})
	record, err := tlog.ProveRecord(q.Size, q.Index, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(record, q.Size, root, q.Index, leaf); err != nil {
		return err
	}
	if q.Old == 0 {
		return nil
	}
	tree, err := tlog.ProveTree(q.Size, q.Old, reader)
	if err != nil {
		return err
	}
	old, err := tlog.TreeHash(q.Old, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(tree, q.Size, root, q.Old, old)
}

// makeLog makes a log of these entries: its tiles in a folder, its checkpoint, and a proof for one of them.
func makeLog(q Question) (Answer, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for number, entry := range q.Entries {
		more, err := tlog.StoredHashes(int64(number), entry, reader)
		if err != nil {
			return Answer{}, err
		}
		stored = append(stored, more...)
	}
	size := int64(len(q.Entries))
	folder := Folder{q.Dir}
	for _, tile := range tlog.NewTiles(8, 0, size) {
		content, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return Answer{}, err
		}
		os.MkdirAll(filepath.Dir(folder.path(tile)), 0o755)
		if err := os.WriteFile(folder.path(tile), content, 0o644); err != nil {
			return Answer{}, err
		}
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return Answer{}, err
	}
	proof, err := tlog.ProveRecord(size, q.Index, reader)
	if err != nil {
		return Answer{}, err
	}
	private := ed25519.NewKeyFromSeed(q.Seed)
	vkey, err := note.NewEd25519VerifierKey(q.Name, private.Public().(ed25519.PublicKey))
	if err != nil {
		return Answer{}, err
	}
	hash := strings.Split(vkey, "+")[1]
	secret := base64.StdEncoding.EncodeToString(append([]byte{1}, q.Seed...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + q.Name + "+" + hash + "+" + secret)
	if err != nil {
		return Answer{}, err
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", q.Name, size, root)}, signer)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Note: string(signed), Vkey: vkey}
	for _, hash := range proof {
		answer.Hashes = append(answer.Hashes, append([]byte(nil), hash[:]...))
	}
	return answer, nil
}
