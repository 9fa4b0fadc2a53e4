// The program of tests/clients/README.md for franz-go, with its own serialiser on the hub's registry.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"shuniu/clients/shared"
)

var compressions = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func client(a *shared.Arguments, more ...kgo.Opt) *kgo.Client {
	options := append([]kgo.Opt{kgo.SeedBrokers(a.Brokers()...), kgo.ClientID(a.ClientID), kgo.DialTLSConfig(a.TLS)}, more...)
	if os.Getenv("CLIENT_DEBUG") != "" {
		options = append(options, kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelDebug, nil)))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		shared.Die(err)
	}
	return client
}

func publish(a *shared.Arguments) {
	client := client(a, kgo.ProducerBatchCompression(compressions[a.Compression]))
	defer client.Close()
	for _, record := range a.ReadRecords() {
		value, err := a.Frame(record.Row)
		if err != nil {
			shared.Die(err)
		}
		message := &kgo.Record{Topic: a.Topic, Key: []byte(record.Key), Value: value}
		for name, text := range record.Headers {
			message.Headers = append(message.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
		}
		sent, err := client.ProduceSync(context.Background(), message).First()
		if err != nil {
			shared.Say("refused", map[string]any{"key": record.Key, "error": err.Error()})
			continue
		}
		shared.Say("sent", map[string]any{"key": record.Key, "partition": sent.Partition, "offset": sent.Offset})
	}
}

// poll prints what arrives until standard input ends.
func poll(a *shared.Arguments, client *kgo.Client, after func(context.Context) error) {
	running, cancel := context.WithCancel(context.Background())
	go func() { <-shared.Stopped(); cancel() }()
	for {
		fetches := client.PollFetches(running)
		if running.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) { shared.SayError(err) })
		fetches.EachRecord(func(r *kgo.Record) { a.SayRecord(r.Partition, r.Offset, r.Key, r.Value) })
		if err := after(running); err != nil && !errors.Is(err, context.Canceled) {
			shared.SayError(err)
		}
	}
}

func read(a *shared.Arguments) {
	isolation := kgo.ReadCommitted()
	if a.Isolation == "uncommitted" {
		isolation = kgo.ReadUncommitted()
	}
	from := kgo.NewOffset().AtStart()
	if a.FromTime >= 0 {
		from = kgo.NewOffset().AfterMilli(a.FromTime)
	}
	client := client(a, kgo.ConsumeTopics(a.Topic), kgo.FetchIsolationLevel(isolation), kgo.ConsumeResetOffset(from))
	defer client.Close()
	shared.Say("started", nil)
	poll(a, client, func(context.Context) error { return nil })
}

func group(a *shared.Arguments) {
	balancers := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if a.Protocol == "consumer" {
		balancers = []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()}
	}
	client := client(a, append(balancers, kgo.ConsumeTopics(a.Topic), kgo.ConsumerGroup(a.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ ctx, _ *kgo.Client, partitions map[string][]int32) {
			shared.Say("assigned", map[string]any{"partitions": partitions[a.Topic]})
		}),
		kgo.OnPartitionsRevoked(func(_ ctx, _ *kgo.Client, partitions map[string][]int32) {
			shared.Say("revoked", map[string]any{"partitions": partitions[a.Topic]})
		}))...)
	defer client.Close()
	poll(a, client, client.CommitUncommittedOffsets)
}

type ctx = context.Context

// serde is franz-go's registry client and serialiser, with hamba/avro for the bytes, as its manual shows.
type serde struct {
	topic    string
	registry *sr.Client
	known    *sr.Serde
}

func newSerde(a *shared.Arguments) *serde {
	registry, err := sr.NewClient(sr.URLs(a.Registry), sr.DialTLSConfig(a.TLS.Clone()))
	if err != nil {
		shared.Die(err)
	}
	return &serde{topic: a.Topic, registry: registry, known: sr.NewSerde()}
}

func (s *serde) learn(id int, text string) error {
	schema, err := avro.Parse(text)
	if err != nil {
		return err
	}
	s.known.Register(id, map[string]any{},
		sr.EncodeFn(func(row any) ([]byte, error) { return avro.Marshal(schema, row) }),
		sr.DecodeFn(func(bytes []byte, row any) error { return avro.Unmarshal(schema, bytes, row) }))
	return nil
}

func (s *serde) Frame(row map[string]any) ([]byte, error) {
	latest, err := s.registry.SchemaByVersion(context.Background(), s.topic+"-value", -1)
	if err != nil {
		return nil, err
	}
	if err := s.learn(latest.ID, latest.Schema.Schema); err != nil {
		return nil, err
	}
	return s.known.Encode(row)
}

func (s *serde) Row(value []byte) (any, error) {
	id, _, err := s.known.DecodeID(value)
	if err != nil {
		return nil, err
	}
	if !s.known.IsRegistered(id) {
		schema, err := s.registry.SchemaByID(context.Background(), id)
		if err != nil {
			return nil, err
		}
		if err := s.learn(id, schema.Schema); err != nil {
			return nil, err
		}
	}
	row := map[string]any{}
	return row, s.known.Decode(value, &row)
}

func main() {
	a := shared.Parse("franz-go", "github.com/twmb/franz-go")
	a.Serde = newSerde(a)
	switch a.Command {
	case "publish":
		publish(a)
	case "read":
		read(a)
	case "group":
		group(a)
	default:
		shared.Die(fmt.Errorf("no such command: %s", a.Command))
	}
}
