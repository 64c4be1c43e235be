"""What botocore is given to read: all it works by, and little else."""

from __future__ import annotations

import tracemalloc

import pytest
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel
from botocore.regions import EndpointResolver

from entrepot.store.s3_model import loader

MIB = 1024 * 1024


def lean_loader() -> Loader:
    """That has read nothing yet: clients change what theirs has read."""
    return Loader(file_loader=loader().file_loader)


def s3_model(found: Loader) -> ServiceModel:
    return ServiceModel(found.load_service_model("s3", "service-2"), "s3")


def hostname(endpoints: EndpointResolver, service: str, region: str) -> str:
    found = endpoints.construct_endpoint(service, region)
    assert found is not None
    return str(found["hostname"])


def test_lean_description_has_all_operations_and_shapes_of_the_whole_one() -> None:
    whole, lean = s3_model(create_loader()), s3_model(lean_loader())
    assert lean.operation_names == whole.operation_names
    assert lean.shape_names == whole.shape_names


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", "CompleteMultipartUpload", "ListObjectsV2"])
def test_lean_description_of_an_operation_asks_for_the_same(operation: str) -> None:
    whole, lean = (s3_model(found).operation_model(operation) for found in (create_loader(), lean_loader()))
    assert lean.http == whole.http
    assert lean.input_shape is not None
    assert whole.input_shape is not None
    assert list(lean.input_shape.members) == list(whole.input_shape.members)


def test_lean_description_has_no_documentation() -> None:
    assert s3_model(lean_loader()).operation_model("PutObject").documentation == ""


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
@pytest.mark.parametrize("service", ["s3", "sts", "dynamodb"])
def test_lean_list_of_endpoints_leads_to_the_same_address(service: str, region: str) -> None:
    whole, lean = (EndpointResolver(found.load_data("endpoints")) for found in (create_loader(), lean_loader()))
    assert hostname(lean, service, region) == hostname(whole, service, region)


def test_lean_data_take_little_memory() -> None:
    found = lean_loader()
    tracemalloc.start()
    try:
        for read in (lambda: found.load_data("endpoints"), lambda: s3_model(found)):
            read()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 4 * MIB  # 10 if all is kept
