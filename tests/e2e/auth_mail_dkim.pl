#!/usr/bin/perl
# Mail::DKIM for test_auth_peers.py: a JSON question a line on standard input, the answer on standard output; see auth_dkimpy.py.
use strict;
use warnings;

use JSON::PP;
use MIME::Base64;
use Net::DNS::RR;

use Mail::DKIM::ARC::Signer;
use Mail::DKIM::ARC::Verifier;
use Mail::DKIM::DNS;
use Mail::DKIM::PrivateKey;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;

my ($question, $message);
$| = 1;

# Records come from the question, not from the DNS.
{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name, $type) = @_;
        my $record = $question->{dns}{$name};
        return unless defined $record;
        return (Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [unpack('(a250)*', $record)]));
    };
    *Mail::DKIM::DNS::query_async = sub {
        my ($name, $type, %callbacks) = @_;
        my @answer = Mail::DKIM::DNS::query($name, $type);
        my $on_success = $callbacks{Callbacks}{Success} || sub { $_[0] };
        return sub { $on_success->(@answer) };
    };
}

sub key { return Mail::DKIM::PrivateKey->load(Data => $question->{key}) }

sub feed {
    my ($object) = @_;
    $object->PRINT($message);
    $object->CLOSE;
    return $object;
}

sub answer {
    my $do = $question->{do};
    if ($do eq 'verify') {
        return [map { $_->result } feed(Mail::DKIM::Verifier->new)->signatures];
    }
    if ($do eq 'arc-verify') {
        my $verifier = feed(Mail::DKIM::ARC::Verifier->new(Strict => 1));
        return {status => $verifier->result, reason => $verifier->result_detail};
    }
    my %common = (Algorithm => $question->{algorithm}, Domain => $question->{domain}, Selector => $question->{selector}, Key => key());
    if ($do eq 'sign') {
        return feed(Mail::DKIM::Signer->new(%common, Method => $question->{canon}))->signature->as_string . "\015\012";
    }
    my $signer = feed(Mail::DKIM::ARC::Signer->new(%common, Chain => $question->{chain}, SrvId => $question->{id}));
    die $signer->result . ': ' . ($signer->{details} // '') unless $signer->result eq 'sealed';
    return join('', map { "$_\015\012" } $signer->as_strings);
}

while (my $line = <STDIN>) {
    $question = decode_json($line);
    $message = decode_base64($question->{message});
    print encode_json([answer()]), "\n";
}
