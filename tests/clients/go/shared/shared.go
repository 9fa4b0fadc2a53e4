// Package shared is what the programs of both Go clients have in common: arguments, certificates, the schema registry,
// Avro framed by hand for the client that has no serialiser, and the lines that they print.
package shared

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/hamba/avro/v2"
)

// Arguments of tests/clients/README.md.
type Arguments struct {
	Command, Bootstrap, Registry, Topic    string
	Records, Compression, Group, Isolation string
	Protocol, ClientID                     string
	FromTime                               int64
	TLS                                    *tls.Config
	// Serde is the client's own serialiser. Without one, values are framed by hand.
	Serde interface {
		Frame(row map[string]any) ([]byte, error)
		Row(value []byte) (any, error)
	}
	web     *http.Client
	schemas map[uint32]avro.Schema
}

// Record to publish: one line of the file of records.
type Record struct {
	Key     string            `json:"key"`
	Row     map[string]any    `json:"row"`
	Headers map[string]string `json:"headers"`
}

var printing sync.Mutex

// Say prints one event.
func Say(event string, fields map[string]any) {
	line := map[string]any{"event": event}
	for name, value := range fields {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(text))
}

// SayError prints what the client's user sees.
func SayError(err error) { Say("error", map[string]any{"error": err.Error()}) }

// Die prints the error and ends the program.
func Die(err error) {
	SayError(err)
	os.Exit(1)
}

// Parse reads the command line.
func Parse(client, path string) *Arguments {
	if len(os.Args) < 2 {
		Die(errors.New("usage: see tests/clients/README.md"))
	}
	a := &Arguments{Command: os.Args[1], schemas: map[uint32]avro.Schema{}}
	if a.Command == "version" {
		build, _ := debug.ReadBuildInfo()
		for _, module := range build.Deps {
			if module.Path == path {
				Say("version", map[string]any{"version": module.Version})
			}
		}
		os.Exit(0)
	}
	flags := flag.NewFlagSet(a.Command, flag.ExitOnError)
	var ca, cert, key string
	flags.StringVar(&a.Bootstrap, "bootstrap", "", "")
	flags.StringVar(&a.Registry, "registry", "", "")
	flags.StringVar(&a.Topic, "topic", "", "")
	flags.StringVar(&ca, "ca", "", "")
	flags.StringVar(&cert, "cert", "", "")
	flags.StringVar(&key, "key", "", "")
	flags.StringVar(&a.Records, "records", "", "")
	flags.StringVar(&a.Compression, "compression", "none", "")
	flags.StringVar(&a.Group, "group", "", "")
	flags.StringVar(&a.ClientID, "client-id", client, "")
	flags.StringVar(&a.Protocol, "protocol", "classic", "")
	flags.StringVar(&a.Isolation, "isolation", "committed", "")
	flags.Int64Var(&a.FromTime, "from-time", -1, "")
	if err := flags.Parse(os.Args[2:]); err != nil {
		Die(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		Die(err)
	}
	authority, err := os.ReadFile(ca)
	if err != nil {
		Die(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
	a.web = &http.Client{Transport: &http.Transport{TLSClientConfig: a.TLS.Clone()}, Timeout: 10 * time.Second}
	return a
}

// Brokers are the addresses to begin with.
func (a *Arguments) Brokers() []string { return strings.Split(a.Bootstrap, ",") }

// ReadRecords reads the file of records.
func (a *Arguments) ReadRecords() []Record {
	file, err := os.Open(a.Records)
	if err != nil {
		Die(err)
	}
	defer file.Close()
	var records []Record
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var record Record
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			Die(err)
		}
		records = append(records, record)
	}
	return records
}

func (a *Arguments) get(path string, into any) error {
	response, err := a.web.Get(a.Registry + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("registry: %s: %s", response.Status, body)
	}
	return json.Unmarshal(body, into)
}

// Frame writes a row with the newest schema of the topic: byte 0, schema id, Avro. No row is no value.
func (a *Arguments) Frame(row map[string]any) ([]byte, error) {
	if row == nil {
		return nil, nil
	}
	if a.Serde != nil {
		return a.Serde.Frame(row)
	}
	var latest struct {
		ID     uint32
		Schema string
	}
	if err := a.get("/subjects/"+a.Topic+"-value/versions/latest", &latest); err != nil {
		return nil, err
	}
	schema, err := avro.Parse(latest.Schema)
	if err != nil {
		return nil, err
	}
	body, err := avro.Marshal(schema, row)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, latest.ID), body...), nil
}

// Row reads a framed value with the schema that its id names.
func (a *Arguments) Row(value []byte) (any, error) {
	if value == nil {
		return nil, nil
	}
	if a.Serde != nil {
		return a.Serde.Row(value)
	}
	if len(value) < 5 || value[0] != 0 {
		return nil, errors.New("the value is not framed")
	}
	id := binary.BigEndian.Uint32(value[1:5])
	schema, known := a.schemas[id]
	if !known {
		var answer struct{ Schema string }
		if err := a.get(fmt.Sprintf("/schemas/ids/%d", id), &answer); err != nil {
			return nil, err
		}
		parsed, err := avro.Parse(answer.Schema)
		if err != nil {
			return nil, err
		}
		schema, a.schemas[id] = parsed, parsed
	}
	row := map[string]any{}
	return row, avro.Unmarshal(schema, value[5:], &row)
}

var decoding sync.Mutex

// SayRecord prints a record that arrived.
func (a *Arguments) SayRecord(partition int32, offset int64, key, value []byte) {
	decoding.Lock()
	row, err := a.Row(value)
	decoding.Unlock()
	if err != nil {
		Die(err)
	}
	Say("record", map[string]any{"partition": partition, "offset": offset, "key": string(key), "row": row})
}

// Stopped is closed when standard input ends: the program closes its client and ends.
func Stopped() <-chan struct{} {
	stopped := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stopped)
	}()
	return stopped
}
