// The program of tests/clients/README.md for sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"

	"github.com/IBM/sarama"

	"shuniu/clients/shared"
)

var compressions = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func config(a *shared.Arguments) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = a.ClientID
	c.Version = sarama.V3_6_0_0
	c.Net.TLS.Enable = true
	c.Net.TLS.Config = a.TLS
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	if a.Isolation == "uncommitted" {
		c.Consumer.IsolationLevel = sarama.ReadUncommitted
	}
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = compressions[a.Compression]
	return c
}

func publish(a *shared.Arguments) {
	producer, err := sarama.NewSyncProducer(a.Brokers(), config(a))
	if err != nil {
		shared.Die(err)
	}
	defer producer.Close()
	for _, record := range a.ReadRecords() {
		value, err := a.Frame(record.Row)
		if err != nil {
			shared.Die(err)
		}
		message := &sarama.ProducerMessage{Topic: a.Topic, Key: sarama.StringEncoder(record.Key)}
		if value != nil {
			message.Value = sarama.ByteEncoder(value)
		}
		for name, text := range record.Headers {
			header := sarama.RecordHeader{Key: []byte(name), Value: []byte(text)}
			message.Headers = append(message.Headers, header)
		}
		partition, offset, err := producer.SendMessage(message)
		if err != nil {
			shared.Say("refused", map[string]any{"key": record.Key, "error": err.Error()})
			continue
		}
		shared.Say("sent", map[string]any{"key": record.Key, "partition": partition, "offset": offset})
	}
}

func read(a *shared.Arguments) {
	client, err := sarama.NewClient(a.Brokers(), config(a))
	if err != nil {
		shared.Die(err)
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		shared.Die(err)
	}
	partitions, err := consumer.Partitions(a.Topic)
	if err != nil {
		shared.Die(err)
	}
	stopped := shared.Stopped()
	var waiting sync.WaitGroup
	for _, partition := range partitions {
		from := sarama.OffsetOldest
		if a.FromTime >= 0 {
			if from, err = client.GetOffset(a.Topic, partition, a.FromTime); err != nil {
				shared.Die(err)
			}
			if from < 0 {
				from = sarama.OffsetNewest
			}
		}
		reader, err := consumer.ConsumePartition(a.Topic, partition, from)
		if err != nil {
			shared.Die(err)
		}
		waiting.Go(func() {
			for {
				select {
				case message, more := <-reader.Messages():
					if !more {
						return
					}
					a.SayRecord(message.Partition, message.Offset, message.Key, message.Value)
				case err, more := <-reader.Errors():
					if !more {
						return
					}
					shared.SayError(err)
				case <-stopped:
					return
				}
			}
		})
	}
	shared.Say("started", nil)
	waiting.Wait()
}

type member struct{ a *shared.Arguments }

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	shared.Say("assigned", map[string]any{"partitions": session.Claims()[m.a.Topic]})
	return nil
}

func (m member) Cleanup(sarama.ConsumerGroupSession) error {
	shared.Say("revoked", nil)
	return nil
}

func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			m.a.SayRecord(message.Partition, message.Offset, message.Key, message.Value)
			session.MarkMessage(message, "")
			session.Commit()
		case <-session.Context().Done():
			return nil
		}
	}
}

func group(a *shared.Arguments) {
	group, err := sarama.NewConsumerGroup(a.Brokers(), a.Group, config(a))
	if err != nil {
		shared.Die(err)
	}
	go func() {
		for err := range group.Errors() {
			shared.SayError(err)
		}
	}()
	context, cancel := context.WithCancel(context.Background())
	go func() { <-shared.Stopped(); cancel() }()
	for context.Err() == nil {
		if err := group.Consume(context, []string{a.Topic}, member{a}); err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
			shared.Die(err)
		}
	}
	if err := group.Close(); err != nil {
		shared.Die(err)
	}
}

func main() {
	a := shared.Parse("sarama", "github.com/IBM/sarama")
	if os.Getenv("CLIENT_DEBUG") != "" {
		sarama.Logger = log.New(os.Stderr, "sarama ", log.LstdFlags)
	}
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
